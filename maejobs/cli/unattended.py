"""`exec RECONCILE`, which cron calls every five minutes: it speaks only where there is news."""

from maejobs.cli.options import become_owner_of
from maejobs.cli.text import visible
from maejobs.cli.warned import on_stderr, warned_by
from maejobs.errors import MaejobsError
from maejobs.home import BadSettings, Home


def reconcile_for_cron(home: Home, dry_run: bool) -> int:
    """Set the record straight; the exit code.

    Cron mails what is printed: a database that is away all night is told of once.
    """
    from maejobs.watch.complaints import news
    from maejobs.watch.reconcile import reconcile

    code = 0
    complaints: list[str] = []
    with warned_by(complaints.append):
        try:
            reconcile(home, dry_run)
        except MaejobsError as error:
            complaints.append(visible(str(error)))
            code = error.exit_code
    for text in complaints if dry_run else news(home, complaints):
        on_stderr(text)
    return code


def refuse_for_cron(error: BadSettings) -> int:
    """The exit code where bad settings keep it from that, told once as well."""
    from maejobs.watch.complaints import news

    become_owner_of(error.home.root)
    for text in news(error.home, [visible(str(error))]):
        on_stderr(text)
    return error.exit_code
