"""Names of the inputs and outputs of exported graphs."""

CLIPS, CLASS_SCORES = "clips", "scores"
"""Of clip models: uint8 (N, T, C, H, W), and (N, num_classes)."""
LENGTHS, LOGITS = "lengths", "logits"
"""Of taggers: the input beside the streams, int64 (N,), and the output, float32 (N, classes)."""
FEATURES, PROPOSALS, SCORES = "features", "proposals", "scores"
"""The input of a localiser, float32 (N, feature_dim, T), and input and output of what scores
proposals, (N, K, feature_dim) and (N, K)."""
VISUAL, SENTENCES, MOMENTS = "visual", "sentences", "moments"
"""Of models that find moments: inputs (P, visual_dim) and (P, sentence_dim), float32, and the
output, (P, 3)."""
ENCODER_INPUTS, ENCODER_OUTPUTS = ("features", "lengths"), ("context", "start", "attention")
"""Of the first file of a model that describes. Inputs: float32 (N, T, feature_dim) and int64 (N,).
Outputs: the context added to the input of every word, (N, C), the state before the first word,
(N, S), and the attention, (N, T)."""
STEP_INPUTS, STEP_OUTPUTS = ("context", "words", "states"), ("log_probs", "next_states")
"""Of its second file. Inputs: (N, C), int64 (N, K) and (N, K, S). Outputs: log-probabilities of the
next words, (N, K, vocabulary_size), and the next states, (N, K, S)."""
