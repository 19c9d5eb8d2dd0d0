/* Kill points at the edge of the kernel: whatever makes a file durable, or gives it a name, or writes to it.
 * Loaded before libc into the tests' own workers; nothing in icehouse knows of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int armed;
static atomic_int with_writes;
static atomic_long seen;
static long fatal;

/* At 0 the points are only counted. */
void crash_arm(long at, int writes) {
    fatal = at;
    atomic_store(&seen, 0);
    atomic_store(&with_writes, writes);
    atomic_store(&armed, 1);
}

long crash_disarm(void) {
    atomic_store(&armed, 0);
    return atomic_load(&seen);
}

void crash_point(void) {
    if (atomic_load(&armed) && atomic_fetch_add(&seen, 1) + 1 == fatal)
        kill(getpid(), SIGKILL);
}

static void write_point(int fd) {
    struct stat status;
    if (atomic_load(&armed) && atomic_load(&with_writes) && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        crash_point();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* What a killed process wrote is in the kernel already: the disk has no part in these tests, and would only slow them. */
int fsync(int fd) {
    (void)fd;
    crash_point();
    return 0;
}

int fdatasync(int fd) {
    return fsync(fd);
}

int rename(const char *from, const char *to) {
    crash_point();
    return REAL(rename)(from, to);
}

int link(const char *from, const char *to) {
    crash_point();
    return REAL(link)(from, to);
}

int unlink(const char *path) {
    crash_point();
    return REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    crash_point();
    return REAL(mkdir)(path, mode);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    write_point(fd);
    return REAL(write)(fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    write_point(fd);
    return REAL(pwrite)(fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    write_point(fd);
    return REAL(pwrite64)(fd, bytes, size, offset);
}
