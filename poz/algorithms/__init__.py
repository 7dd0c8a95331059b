"""What carries state or spans iterations: annotator reliabilities, and the iterations of preference games."""
