COPY activations FROM STDIN;
