"""The fused head: `linear_logps`, the plan of a call, its two passes over the vocabulary and how they lie on a mesh."""
