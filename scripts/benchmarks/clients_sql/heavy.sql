-- Work for seconds: every activation with every other of its feature.
SELECT a.feature, count(*) FROM activations AS a JOIN activations AS b USING (feature)
GROUP BY ALL ORDER BY 2 DESC LIMIT 5
