"""What an editor shows of a call that is begun: python tests/completed.py FOLDER, where poz was installed into."""

import sys

import jedi

import poz


def offered(code: str, project: jedi.Project) -> set[str]:
    """The arguments that are offered at its end."""
    script = jedi.Script(f"import poz\n{code}", project=project)
    return {one.name.removesuffix("=") for one in script.complete() if one.name.endswith("=")}


def main(folder: str) -> int:
    project, wrong = jedi.Project(folder, added_sys_path=[folder]), 0
    for name in ("dpo", "simpo", "plackett_luce", "grpo"):
        for call in (f"poz.{name}(", f"poz.{name}.bind(", f"poz.{name}.bind().bind("):
            found, wanted = offered(call, project), set(poz.zoo[name].params)
            if found != wanted:
                print(f"{call} offers {', '.join(sorted(found)) or 'nothing'}, not {', '.join(sorted(wanted))}.")
                wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
