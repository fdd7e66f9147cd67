"""The steps of a run, and where Ctrl-C ends them."""

from collections.abc import Iterator

from sseg.stopping import Stop


def run_steps(run, processes: int = 1) -> Iterator[dict]:
    """What each step of a run returns, until there are `total`. Ctrl-C ends a run of one process between two steps,
    once it is saved; of several, each ends where it is, since none knows how far the others are."""
    if processes > 1:
        while run.step < run.total:
            yield run.train_step()
        return
    with Stop() as stop:
        while run.step < run.total:
            yield run.train_step()
            if stop.asked:
                run.save()
                raise KeyboardInterrupt
