/* A disk that takes less than it is given, fills up at any byte, or stands still: put before the C library's write(2),
 * writev(2), fsync(2), fdatasync(2) and ftruncate(2) with LD_PRELOAD. Notes which folders were synced. Touches only what goes into data files; decides nothing: the test
 * says how much is taken. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static ssize_t (*next_write)(int, const void *, size_t);
static ssize_t (*next_writev)(int, const struct iovec *, int);
static int (*next_fdatasync)(int);
static int (*next_fsync)(int);
static int (*next_ftruncate)(int, off64_t);
/* Bytes that one call takes at most; 0: all. */
static long most;
/* Bytes that the disk has room for; negative: as many as there are. Behind that: not 0 if no file can be cut; not 0 while it
 * stands still. */
static volatile int64_t *room;

__attribute__((constructor)) static void begin(void) {
    next_ftruncate = (int (*)(int, off64_t))dlsym(RTLD_NEXT, "ftruncate64");
    next_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    next_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    next_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    next_writev = (ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    const char *text = getenv("FAULTY_DISK_MOST");
    most = text ? atol(text) : 0;
    const char *path = getenv("FAULTY_DISK_ROOM");
    int file = path ? open(path, O_RDWR) : -1;
    if (file >= 0) {
        void *map = mmap(NULL, 3 * sizeof *room, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        room = map == MAP_FAILED ? NULL : map;
        close(file);
    }
}

static int is_data(int fd) {
    struct stat about;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, "/appendonlydir/") || strstr(path, ".rdb");
}

static void wait_while_still(void) {
    while (room && room[2] != 0) usleep(1000);
}

/* How much of it the disk takes now. */
static size_t taken(size_t wanted) {
    wait_while_still();
    if (most > 0 && wanted > (size_t)most) wanted = (size_t)most;
    if (!room) return wanted;
    int64_t left = __atomic_load_n(room, __ATOMIC_SEQ_CST);
    for (;;) {
        if (left < 0) return wanted;
        size_t takes = (int64_t)wanted < left ? wanted : (size_t)left;
        if (__atomic_compare_exchange_n(room, &left, left - (int64_t)takes, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return takes;
    }
}

int ftruncate64(int fd, off64_t size) {
    if (!room || room[1] == 0 || !is_data(fd)) return next_ftruncate(fd, size);
    errno = EPERM;
    return -1;
}

int fdatasync(int fd) {
    if (is_data(fd)) wait_while_still();
    return next_fdatasync(fd);
}

/* A line with each folder that was synced. */
int fsync(int fd) {
    struct stat about;
    const char *list = getenv("FAULTY_DISK_FOLDERS");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = list && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode) ? readlink(link, path, sizeof path - 1) : 0;
    int file = length > 0 ? open(list, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (file >= 0) {
        path[length] = '\n';
        if (next_write(file, path, (size_t)length + 1) < 0) abort();
        close(file);
    }
    return next_fsync(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (count == 0 || !is_data(fd)) return next_write(fd, bytes, count);
    size_t takes = taken(count);
    if (takes > 0) return next_write(fd, bytes, takes);
    errno = ENOSPC;
    return -1;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    if (count <= 0 || !is_data(fd)) return next_writev(fd, pieces, count);
    size_t wanted = 0;
    for (int at = 0; at < count; at++) wanted += pieces[at].iov_len;
    size_t takes = wanted == 0 ? 0 : taken(wanted);
    if (takes == wanted) return next_writev(fd, pieces, count);
    if (takes == 0) {
        errno = ENOSPC;
        return -1;
    }
    struct iovec some[IOV_MAX];
    int used = 0;
    for (int at = 0; at < count && at < IOV_MAX && takes > 0; at++) {
        some[used] = pieces[at];
        if (some[used].iov_len > takes) some[used].iov_len = takes;
        takes -= some[used++].iov_len;
    }
    return next_writev(fd, some, used);
}
