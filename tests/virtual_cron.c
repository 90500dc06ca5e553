/* A clock for cron daemons under test, to be preloaded: sleeping takes no time but advances it.

   VIRTUAL_START   seconds since the epoch that the clock shows at first
   VIRTUAL_LENGTH  seconds after which the daemon is ended
   VIRTUAL_JUMPS   "AFTER:BY ..." in seconds: that long after the start the clock is set by BY
   VIRTUAL_RECORD  file that gets "SECONDS COMMAND" for each command the daemon would start

   No command is started: a child ends where it reports the command to syslog. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define JUMPS 64

static long long elapsed, clock_start, length, shift; /* nanoseconds */
static struct { long long after, by; } jumps[JUMPS];
static int jump_count, jumps_done, record = -1, is_child;

static const long long SECOND = 1000000000;

static long long seconds_of(const char *name) {
    const char *value = getenv(name);
    return value ? atoll(value) * SECOND : 0;
}

__attribute__((constructor)) static void begin(void) {
    clock_start = seconds_of("VIRTUAL_START");
    length = seconds_of("VIRTUAL_LENGTH");
    const char *rest = getenv("VIRTUAL_JUMPS");
    long long after, by;
    int used;
    while (rest && jump_count < JUMPS && sscanf(rest, " %lld:%lld%n", &after, &by, &used) == 2) {
        jumps[jump_count].after = after * SECOND;
        jumps[jump_count++].by = by * SECOND;
        rest += used;
    }
    const char *path = getenv("VIRTUAL_RECORD");
    if (path)
        record = fcntl(open(path, O_WRONLY | O_APPEND | O_CREAT, 0600), F_DUPFD_CLOEXEC, 1000);
}

static long long now(void) { return clock_start + elapsed + shift; }

static void pass(long long nanoseconds) {
    if (is_child)
        return;
    elapsed += nanoseconds > 0 ? nanoseconds : 0;
    while (jumps_done < jump_count && jumps[jumps_done].after <= elapsed)
        shift += jumps[jumps_done++].by;
    if (length && elapsed >= length)
        _exit(0);
}

static long long of_timespec(const struct timespec *at) {
    return at->tv_sec * SECOND + at->tv_nsec;
}

static struct timespec as_timespec(long long at) {
    return (struct timespec){at / SECOND, at % SECOND};
}

time_t time(time_t *result) {
    time_t seconds = now() / SECOND;
    if (result)
        *result = seconds;
    return seconds;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone) {
    (void)zone;
    *result = (struct timeval){now() / SECOND, now() % SECOND / 1000};
    return 0;
}

int clock_gettime(clockid_t id, struct timespec *result) {
    if (id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID)
        return (int)syscall(SYS_clock_gettime, id, result);
    int wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    *result = as_timespec(wall ? now() : elapsed);
    return 0;
}

unsigned int sleep(unsigned int seconds) {
    pass(seconds * SECOND);
    return 0;
}

int usleep(useconds_t microseconds) {
    pass(microseconds * 1000LL);
    return 0;
}

int nanosleep(const struct timespec *request, struct timespec *rest) {
    (void)rest;
    pass(of_timespec(request));
    return 0;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *at, struct timespec *rest) {
    (void)rest;
    long long reached = id == CLOCK_REALTIME ? now() : elapsed;
    pass(of_timespec(at) - (flags & TIMER_ABSTIME ? reached : 0));
    return 0;
}

/* Nothing ever becomes ready: cronie may sleep so, beside its watch on the tables. */
int select(int count, fd_set *in, fd_set *out, fd_set *err, struct timeval *timeout) {
    fd_set *sets[] = {in, out, err};
    (void)count;
    for (int i = 0; i < 3; i++)
        if (sets[i])
            FD_ZERO(sets[i]);
    pass(timeout->tv_sec * SECOND + timeout->tv_usec * 1000);
    return 0;
}

/* Each child is waited for, so that the record keeps the daemon's order; a child's own child is
   the child itself, which saves a process. */
pid_t fork(void) {
    if (is_child)
        return 0;
    pid_t child = (pid_t)syscall(SYS_fork);
    if (child == 0)
        is_child = 1;
    else
        waitpid(child, NULL, 0);
    return child;
}

static void report(const char *format, va_list arguments) {
    char text[4096], line[4200];
    vsnprintf(text, sizeof text, format, arguments);
    char *command = strstr(text, " CMD (");
    char *end = strrchr(text, ')');
    if (!command || !end || record < 0)
        return;
    *end = '\0';
    int size = snprintf(line, sizeof line, "%lld %s\n", now() / SECOND, command + 6);
    if (write(record, line, (size_t)size) != size)
        abort();
    if (is_child)
        _exit(0);
}

void syslog(int priority, const char *format, ...) {
    (void)priority;
    va_list arguments;
    va_start(arguments, format);
    report(format, arguments);
    va_end(arguments);
}

void __syslog_chk(int priority, int flag, const char *format, ...) {
    (void)priority, (void)flag;
    va_list arguments;
    va_start(arguments, format);
    report(format, arguments);
    va_end(arguments);
}

/* Sessions that nobody needs: loading PAM's modules for each command would take most of the time. */
int pam_start(const char *service, const char *user, const void *conversation, void **handle) {
    (void)service, (void)user, (void)conversation;
    *handle = &is_child;
    return 0;
}

int pam_set_item(void *handle, int item, const void *value) {
    (void)handle, (void)item, (void)value;
    return 0;
}

int pam_acct_mgmt(void *handle, int flags) { return (void)handle, (void)flags, 0; }
int pam_setcred(void *handle, int flags) { return (void)handle, (void)flags, 0; }
int pam_open_session(void *handle, int flags) { return (void)handle, (void)flags, 0; }
int pam_close_session(void *handle, int flags) { return (void)handle, (void)flags, 0; }
int pam_end(void *handle, int status) { return (void)handle, (void)status, 0; }
char **pam_getenvlist(void *handle) { return (void)handle, (char **)calloc(1, sizeof(char *)); }

/* The same of the groups of a user: their lookup loads NSS's modules, in each child anew. */
int initgroups(const char *user, gid_t group) { return (void)user, (void)group, 0; }
