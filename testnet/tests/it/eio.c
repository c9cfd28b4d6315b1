/* Preloaded into a node: while the file FLAG exists, no write reaches the disk, as with one that fails. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(void) {
    if (access(FLAG, F_OK) != 0) return 0;
    errno = EIO;
    return 1;
}

int fsync(int fd) { return fails() ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return fails() ? -1 : (int)syscall(SYS_fdatasync, fd); }
