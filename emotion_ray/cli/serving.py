"""The command that serves models over HTTP: serve."""

from emotion_ray.cli.output import Flat, console_for
from emotion_ray.settings import ServeSettings


def serve(settings: Flat[ServeSettings]) -> None:
    """Serves the models over HTTP, with a page to try them, until Ctrl-C.

    Examples: `emotion-ray serve`, `emotion-ray serve --replicas 2 --model attention-demo`,
    `emotion-ray serve --host 0.0.0.0 --api-key-file key.txt`.

    Args:
        settings: where to listen, how much to take on and what to refuse.
    """
    from emotion_ray.distributed.serve import serving, wait_for_interrupt

    console = console_for(json=False)
    try:
        with serving(settings, console) as url:
            console.print(f"the page and the service are at {url}; Ctrl-C stops them", soft_wrap=True)
            wait_for_interrupt()
    except KeyboardInterrupt:
        console.print("stopped")
