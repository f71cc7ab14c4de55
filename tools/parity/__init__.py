"""Compare videozoo with numbers recorded from the 2019 PaddlePaddle library."""
