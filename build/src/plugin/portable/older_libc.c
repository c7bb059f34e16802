/* What a library that is linked on a newer machine asks of the C library, from functions that glibc 2.28 has.
 *
 * The linker leads each reference to a function that has a namesake here, with a prefix, to that one (build/src/plugin/portable/mod.rs). Most only
 * call the oldest version of the same function, which every glibc keeps; the others are made of older functions. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#define SETNAME "GLIBC_2.12"
#define FXSTATAT "GLIBC_2.4"
#define STAT_VERSION 1
#elif defined(__aarch64__)
#define OLDEST "GLIBC_2.17"
#define SETNAME "GLIBC_2.17"
#define FXSTATAT "GLIBC_2.17"
#define STAT_VERSION 0
#else
#error "--portable is made for x86-64 and arm64"
#endif

/* The function of this name calls its namesake in the version given. */
#define LEADS_TO(version, type, name, parameters, arguments)     \
  __asm__(".symver old_" #name ", " #name "@" version);          \
  extern type old_##name parameters;                             \
  type __wrap_##name parameters { return old_##name arguments; }

LEADS_TO(OLDEST, int, pthread_create, (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg),
         (thread, attr, start, arg))
LEADS_TO(OLDEST, int, pthread_join, (pthread_t thread, void **value), (thread, value))
LEADS_TO(OLDEST, int, pthread_detach, (pthread_t thread), (thread))
LEADS_TO(OLDEST, int, pthread_attr_setstacksize, (pthread_attr_t * attr, size_t size), (attr, size))
LEADS_TO(OLDEST, int, pthread_attr_getstack, (const pthread_attr_t *attr, void **address, size_t *size), (attr, address, size))
LEADS_TO(OLDEST, int, pthread_attr_getguardsize, (const pthread_attr_t *attr, size_t *size), (attr, size))
LEADS_TO(OLDEST, int, pthread_getattr_np, (pthread_t thread, pthread_attr_t *attr), (thread, attr))
LEADS_TO(OLDEST, int, pthread_key_create, (pthread_key_t * key, void (*destroy)(void *)), (key, destroy))
LEADS_TO(OLDEST, int, pthread_key_delete, (pthread_key_t key), (key))
LEADS_TO(OLDEST, int, pthread_setspecific, (pthread_key_t key, const void *value), (key, value))
LEADS_TO(OLDEST, void *, pthread_getspecific, (pthread_key_t key), (key))
LEADS_TO(OLDEST, int, pthread_once, (pthread_once_t * once, void (*run)(void)), (once, run))
LEADS_TO(OLDEST, int, pthread_mutex_trylock, (pthread_mutex_t * mutex), (mutex))
LEADS_TO(OLDEST, int, pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock))
LEADS_TO(OLDEST, int, pthread_rwlock_wrlock, (pthread_rwlock_t * lock), (lock))
LEADS_TO(OLDEST, int, pthread_rwlock_tryrdlock, (pthread_rwlock_t * lock), (lock))
LEADS_TO(OLDEST, int, pthread_rwlock_trywrlock, (pthread_rwlock_t * lock), (lock))
LEADS_TO(OLDEST, int, pthread_rwlock_unlock, (pthread_rwlock_t * lock), (lock))
LEADS_TO(SETNAME, int, pthread_setname_np, (pthread_t thread, const char *name), (thread, name))
LEADS_TO(OLDEST, void *, dlsym, (void *handle, const char *name), (handle, name))
LEADS_TO(OLDEST, void *, dlopen, (const char *name, int flags), (name, flags))
LEADS_TO(OLDEST, int, dlclose, (void *handle), (handle))
LEADS_TO(OLDEST, char *, dlerror, (void), ())
LEADS_TO(OLDEST, int, dladdr, (const void *address, Dl_info *info), (address, info))
LEADS_TO(OLDEST, double, pow, (double x, double y), (x, y))
LEADS_TO(OLDEST, double, exp, (double x), (x))
LEADS_TO(OLDEST, double, log, (double x), (x))
LEADS_TO(OLDEST, double, log2, (double x), (x))
LEADS_TO(OLDEST, double, exp2, (double x), (x))

/* Threads of the C++ library's own name for the same. */
int __wrap___pthread_key_create(pthread_key_t *key, void (*destroy)(void *)) { return old_pthread_key_create(key, destroy); }

/* Until 2.33 these stood in a part of the library that was linked statically, over functions that it still has. */
__asm__(".symver old_xstat, __xstat64@" OLDEST);
__asm__(".symver old_lxstat, __lxstat64@" OLDEST);
__asm__(".symver old_fxstat, __fxstat64@" OLDEST);
__asm__(".symver old_fxstatat, __fxstatat64@" FXSTATAT);
extern int old_xstat(int version, const char *path, struct stat64 *data);
extern int old_lxstat(int version, const char *path, struct stat64 *data);
extern int old_fxstat(int version, int file, struct stat64 *data);
extern int old_fxstatat(int version, int folder, const char *path, struct stat64 *data, int flags);
int __wrap_stat64(const char *path, struct stat64 *data) { return old_xstat(STAT_VERSION, path, data); }
int __wrap_lstat64(const char *path, struct stat64 *data) { return old_lxstat(STAT_VERSION, path, data); }
int __wrap_fstat64(int file, struct stat64 *data) { return old_fxstat(STAT_VERSION, file, data); }
int __wrap_fstatat64(int folder, const char *path, struct stat64 *data, int flags) {
  return old_fxstatat(STAT_VERSION, folder, path, data, flags);
}
/* Both structures are the same on machines of 64 bits. */
int __wrap_stat(const char *path, struct stat *data) { return __wrap_stat64(path, (struct stat64 *)data); }
int __wrap_lstat(const char *path, struct stat *data) { return __wrap_lstat64(path, (struct stat64 *)data); }
int __wrap_fstat(int file, struct stat *data) { return __wrap_fstat64(file, (struct stat64 *)data); }
int __wrap_fstatat(int folder, const char *path, struct stat *data, int flags) {
  return __wrap_fstatat64(folder, path, (struct stat64 *)data, flags);
}

/* A server always has threads; the C++ library asks in order to leave out atomic instructions. */
char __wrap___libc_single_threaded = 0;

pid_t __wrap_gettid(void) { return (pid_t)syscall(SYS_gettid); }

uint32_t __wrap_arc4random(void) {
  uint32_t number;
  ssize_t got;
  do {
    got = getrandom(&number, sizeof number, 0);
  } while (got < 0 && errno == EINTR);
  /* As arc4random does, which has no way to fail. */
  if (got != (ssize_t)sizeof number) abort();
  return number;
}

/* What glibc 2.38 calls these in a program that knows binary constants: 0b1 in base 2 or 0. Nothing here reads such text. */
long __wrap___isoc23_strtol(const char *text, char **end, int base) { return strtol(text, end, base); }
unsigned long __wrap___isoc23_strtoul(const char *text, char **end, int base) { return strtoul(text, end, base); }
long long __wrap___isoc23_strtoll(const char *text, char **end, int base) { return strtoll(text, end, base); }
unsigned long long __wrap___isoc23_strtoull(const char *text, char **end, int base) { return strtoull(text, end, base); }

static struct timespec plus(struct timespec time, int64_t nanoseconds) {
  const int64_t sum = time.tv_nsec + nanoseconds;
  time.tv_sec += sum / 1000000000;
  time.tv_nsec = sum % 1000000000;
  return time;
}

/* A wait until a moment of a clock that nobody sets, of a condition variable that goes by one that may be set: in steps of at most a second, so that
   setting it makes a wait longer by no more than that, and never shorter. */
int __wrap_pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until) {
  const int64_t longest = 1000000000;
  if (clock == CLOCK_REALTIME) return pthread_cond_timedwait(condition, mutex, until);
  if (clock != CLOCK_MONOTONIC) return EINVAL;
  for (;;) {
    struct timespec now, wall;
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_REALTIME, &wall);
    const int64_t seconds = (int64_t)until->tv_sec - now.tv_sec;
    int64_t left = longest;
    if (seconds < 2) left = seconds * 1000000000 + (until->tv_nsec - now.tv_nsec);
    if (left <= 0) return ETIMEDOUT;
    const struct timespec step = plus(wall, left < longest ? left : longest);
    const int result = pthread_cond_timedwait(condition, mutex, &step);
    if (result != ETIMEDOUT) return result;
  }
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE
/* Where the unwinder of exceptions finds the tables of the object that an address lies in; before 2.35 it walked through all objects, too. */
struct search {
  uintptr_t address;
  struct dl_find_object *found;
};

static int is_in(struct dl_phdr_info *object, size_t size, void *data) {
  struct search *search = data;
  uintptr_t start = UINTPTR_MAX, end = 0, tables = 0;
  int contains = 0;
  (void)size;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    const uintptr_t from = object->dlpi_addr + part->p_vaddr, to = from + part->p_memsz;
    if (part->p_type == PT_LOAD) {
      if (from < start) start = from;
      if (to > end) end = to;
      contains |= from <= search->address && search->address < to;
    } else if (part->p_type == PT_GNU_EH_FRAME) {
      tables = from;
    }
  }
  if (!contains) return 0;
  if (tables == 0) return -1;
  search->found->dlfo_flags = 0;
  search->found->dlfo_map_start = (void *)start;
  search->found->dlfo_map_end = (void *)end;
  search->found->dlfo_link_map = NULL;
  search->found->dlfo_eh_frame = (void *)tables;
  return 1;
}

int __wrap__dl_find_object(void *address, struct dl_find_object *found) {
  struct search search = {(uintptr_t)address, found};
  return dl_iterate_phdr(is_in, &search) == 1 ? 0 : -1;
}
#endif
