SELECT feature, positions, "values" FROM activations WHERE run = :run;
