"""What `--external_plugins` names, with an objective in POZ_OBJECTIVE; as a command it prints where it is.

```bash
POZ_OBJECTIVE="simpo beta=2 gamma=1" swift rlhf --rlhf_type dpo --external_plugins "$(python -m poz.integrations.swift.plugin)"
```
"""

import os

from poz.integrations.swift import install

if __name__ == "__main__":
    print(__file__)
else:  # a checkpoint names it too, and is read where nothing is trained and no objective is needed
    install(os.environ.get("POZ_OBJECTIVE", ""))
