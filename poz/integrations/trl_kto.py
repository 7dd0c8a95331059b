"""TRL's own KTOTrainer with any objective of poz that tells desirable completions from others.

```python
from poz.integrations.trl_kto import KTOTrainer

KTOTrainer(model=..., objective="bco", args=KTOConfig(...), train_dataset=...).train()
```
"""

from poz.integrations.trl.kto import KTOTrainer as KTOTrainer
