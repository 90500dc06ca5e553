from private_cron import private_cron

__all__ = ["private_cron"]
