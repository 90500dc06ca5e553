"""How the environment of jobs differs from the caller's, and what changes it. Pure."""

from collections.abc import Mapping, Sequence

from maejobs.cron.block import begins_block
from maejobs.cron.lines import Kind, Line

MATTER = (
    *("LC_ALL", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "OMP_NUM_THREADS"),
    *("CUDA_HOME", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD"),
    *("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME", "SSL_CERT_FILE"),
    *("HF_TOKEN", "WANDB_API_KEY", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("SSH_AUTH_SOCK", "KRB5CCNAME"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
COMPARED = ("HOME", "LANG", "TZ")  # whose values are no secret
HANDED_ON = ("TZ", "LC_ALL", "TMPDIR")  # to runs, of what an environment line sets
CHANGES = {
    "TZ": "the zone of the jobs, not of the schedule",
    "CRON_TZ": "the zone of the schedule with cronie, nothing with other crons",
    "PATH": "nothing for runs, which get a PATH of their own",
    "SHELL": "which shell reads our lines",
    "HOME": "where jobs start, and whose ~ they see",
}


def lines_above(lines: Sequence[Line]) -> list[Line]:
    """The environment lines that stand above our block; none where there is no block."""
    above: list[Line] = []
    for line in lines:
        if begins_block(line.raw):
            return above
        if line.kind is Kind.ENVIRONMENT:
            above.append(line)
    return []


def lacking(
    caller: Mapping[str, str],
    table: Mapping[str, str],
    jobs: Sequence[Mapping[str, str]],
    path: str,
) -> list[str]:
    """What the caller has set and some job would not find: names, and directories of PATH.

    `table` is what the environment lines set, `jobs` the `env` of each job file, `path` the PATH
    that runs get. Of other names no value is told.
    """
    handed_on = {name for name in HANDED_ON if name in table}
    given = [handed_on | set(job) for job in jobs]
    found = {*path.split(":"), ""}
    missing = [
        name for name in MATTER if caller.get(name) and any(name not in names for names in given)
    ]
    if "VIRTUAL_ENV" in missing and f"{caller['VIRTUAL_ENV']}/bin" in found:
        missing.remove("VIRTUAL_ENV")  # ours, whose programs runs find
    if any("PATH" not in names for names in given):
        wanted = dict.fromkeys(caller.get("PATH", "").split(":"))
        missing += [f"{place} in PATH" for place in wanted if place not in found]
    return missing


def differing(caller: Mapping[str, str], runs: Sequence[Mapping[str, str]]) -> list[str]:
    """What some run that cron starts, of these environments, finds otherwise than the caller."""
    return [
        f"{name} is {other or 'not set'} for jobs, {caller[name]} here"
        for name in COMPARED
        if caller.get(name)
        for other in [run.get(name, "") for run in runs if run.get(name) != caller[name]][:1]
    ]
