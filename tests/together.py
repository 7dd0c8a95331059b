"""Draws of one law go together in one test: counting and sending twenty thousand tests takes longer than running them."""

import functools
import inspect


def together(argument, values):
    """The test at each of these values of an argument, or at `values(...)` of its others; it says at which it fails."""

    def over(test):
        signature = inspect.signature(test)
        rest = [one for one in signature.parameters.values() if one.name != argument]

        @functools.wraps(test)
        def run(**given):
            for value in values(**given) if callable(values) else values:
                try:
                    test(**given, **{argument: value})
                except Exception as error:
                    error.add_note(f"at {argument}={value!r}")
                    raise

        run.__signature__ = signature.replace(parameters=rest)
        return run

    return over
