/* What stands between a caller and SoftHSM whatever the habits: the file of numbers, the open sessions, the weather. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long UL;
typedef unsigned char byte;
typedef UL (*Function)();
struct list { byte version[2]; Function call[68]; };
struct attribute { UL type; void *value; UL length; };
struct mechanism { UL number; void *parameter; UL length; };
struct gcm { byte *iv; UL iv_length, iv_bits; byte *aad; UL aad_length, tag_bits; };

/* Where functions stand in CK_FUNCTION_LIST. */
enum {
    INITIALIZE, FINALIZE, GET_INFO, GET_FUNCTION_LIST, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, CLOSE_SESSION,
    CLOSE_ALL_SESSIONS, GET_SESSION_INFO, LOGIN = 18, CREATE_OBJECT = 20, DESTROY_OBJECT = 22, GET_ATTRIBUTES = 24, FIND_INIT = 26, FIND,
    FIND_FINAL, ENCRYPT_INIT, ENCRYPT, DECRYPT_INIT = 33, DECRYPT, SIGN_INIT = 42, SIGN, GENERATE_KEY = 58,
    GENERATE_PAIR, WRAP_KEY, UNWRAP_KEY
};
enum {
    OK = 0, FUNCTION_FAILED = 0x06, ATTRIBUTE_TYPE_INVALID = 0x12, DATA_LEN_RANGE = 0x21, DEVICE_ERROR = 0x30,
    DEVICE_MEMORY = 0x31, ENCRYPTED_DATA_INVALID = 0x40, KEY_HANDLE_INVALID = 0x60, KEY_SIZE_RANGE = 0x62,
    MECHANISM_INVALID = 0x70, MECHANISM_PARAM_INVALID = 0x71, PIN_INCORRECT = 0xA0, SESSION_COUNT = 0xB1,
    SESSION_HANDLE_INVALID = 0xB3, OBJECT_HANDLE_INVALID = 0x82, SESSION_READ_ONLY = 0xB5, BUFFER_TOO_SMALL = 0x150, GENERAL_ERROR = 0x05
};
#define AES_GCM 0x1087UL
#define VENDOR_AES_GCM 0x80001087UL
#define AES_KEY_WRAP 0x2109UL
#define VENDOR_AES_KEY_WRAP 0x80002109UL
enum { NONCE = 12, TAG = 16, LARGEST = 16384, MOST = 4096, YOUNG = 256 };

/* What CONTROL holds; the last ones are told by the module. */
enum {
    FAILING, LATENCY, PER_SECOND, BURST, HIDDEN, STALE, DROP_EVERY, DROP_NOW, KEYS, PAIRS, SESSIONS,
    CALLS, FAILED, DROPPED, LARGEST_POOL, NUMBERS
};

struct session {
    UL handle, slot, key;
    enum { NOTHING, WRITE_BACK, PREPEND, OPEN_PREPENDED } doing;
    byte nonce[NONCE], *wanted, aad[LARGEST];
    struct gcm gcm;
};
static struct list inner, outer;
static volatile uint64_t *control;
static struct session *sessions[MOST];
static struct { UL handle; uint64_t hidden, stale; } young[YOUNG];
static int open_count, next_young;
static uint64_t dropped_for;
static double bucket;
static struct timespec filled;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* Held for reading by every call, for writing while sessions are dropped: SoftHSM crashes when they go under a call. */
static pthread_rwlock_t calls = PTHREAD_RWLOCK_INITIALIZER;

static struct session *of(UL handle) {
    struct session *found = NULL;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < MOST && !found; i++)
        if (sessions[i] && sessions[i]->handle == handle) found = sessions[i];
    pthread_mutex_unlock(&mutex);
    return found;
}

/* Another thread may be in the middle of a call on a session that goes: its memory is given back long after. */
static void bury(struct session *gone) {
    static struct session *graves[1024];
    static unsigned next;
    struct session **grave = &graves[next++ % (sizeof graves / sizeof *graves)];
    free(*grave);
    *grave = gone;
}

/* Forgets one session, those of a slot, or all. */
static void forget(UL handle, const UL *slot) {
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < MOST; i++)
        if (sessions[i] && (sessions[i]->handle == handle || (!handle && (!slot || sessions[i]->slot == *slot)))) {
            bury(sessions[i]);
            sessions[i] = NULL;
            open_count--;
        }
    pthread_mutex_unlock(&mutex);
}

int shim_open_sessions(void) { return open_count; }

static void drop_all(void) {
    UL slots[MOST];
    int count = 0;
    pthread_rwlock_wrlock(&calls);
    for (int i = 0; i < MOST; i++)
        if (sessions[i]) slots[count++] = sessions[i]->slot;
    for (int i = 0; i < count; i++) inner.call[CLOSE_ALL_SESSIONS](slots[i]);
    forget(0, NULL);
    __sync_fetch_and_add(&control[DROPPED], 1);
    pthread_rwlock_unlock(&calls);
}

static int throttled(void) {
    struct timespec now;
    double rate = control[PER_SECOND] / 1000.0, most = control[BURST] ? control[BURST] : 1;
    if (!control[PER_SECOND]) return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    bucket += rate * ((now.tv_sec - filled.tv_sec) + (now.tv_nsec - filled.tv_nsec) / 1e9);
    filled = now;
    if (bucket > most) bucket = most;
    if (bucket < 1) return 1;
    bucket -= 1;
    return 0;
}

/* What befalls a call on its way to the HSM. */
static UL weather(void) {
    UL answer = OK;
    int drop = 0;
    if (control[LATENCY]) usleep(control[LATENCY]);
    pthread_mutex_lock(&mutex);
    uint64_t number = __sync_add_and_fetch(&control[CALLS], 1);
    if (control[DROP_NOW] != dropped_for || (control[DROP_EVERY] && number % control[DROP_EVERY] == 0)) {
        dropped_for = control[DROP_NOW];
        drop = 1;
    } else if (throttled()) {
        answer = FUNCTION_FAILED;
    } else if (number * control[FAILING] / 10000 != (number - 1) * control[FAILING] / 10000) {
        /* The same share of calls in every run, whatever their order. */
        answer = control[FAILED] % 2 ? DEVICE_ERROR : FUNCTION_FAILED;
    }
    pthread_mutex_unlock(&mutex);
    if (drop) {
        drop_all();
        return SESSION_HANDLE_INVALID;
    }
    if (answer) __sync_fetch_and_add(&control[FAILED], 1);
    return answer;
}

#define ARGUMENTS UL a, UL b, UL c, UL d, UL e, UL f, UL g, UL h
static UL pass(int which, ARGUMENTS) {
    pthread_rwlock_rdlock(&calls);
    UL answer = inner.call[which](a, b, c, d, e, f, g, h);
    pthread_rwlock_unlock(&calls);
    return answer;
}
/* Functions that are passed on: some after the weather, some at once. */
#define PASSED(name, which) static UL name(ARGUMENTS) { return pass(which, a, b, c, d, e, f, g, h); }
#define WEATHERED(name, which) \
    static UL name(ARGUMENTS) { UL bad = weather(); return bad ? bad : pass(which, a, b, c, d, e, f, g, h); }
#define CALL(which, ...) pass(which, __VA_ARGS__)
PASSED(find_final, FIND_FINAL)
PASSED(get_session_info, GET_SESSION_INFO)
WEATHERED(create_object, CREATE_OBJECT)
WEATHERED(find_init, FIND_INIT)
