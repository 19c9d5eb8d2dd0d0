/* A PKCS#11 module in front of SoftHSM with habits that other modules were seen to have, each on demand.
 *
 * INNER is the SoftHSM library that does the work, a copy that no other module of the process uses. CONTROL is a file of
 * 64-bit numbers that a test writes at any time; odd.py has the other side of it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef unsigned long UL;
typedef unsigned char byte;
typedef UL (*Function)();
struct list { byte version[2]; Function call[68]; };
struct attribute { UL type; void *value; UL length; };
struct mechanism { UL number; void *parameter; UL length; };
struct token { byte label[32], maker[32], model[16], serial[16]; UL flags, numbers[10]; byte versions[4], clock[16]; };
struct start { void *locks[4]; UL flags; const char *reserved; };

/* Where functions stand in CK_FUNCTION_LIST. */
enum {
    INITIALIZE = 0, TOKEN_INFO = 6, MECHANISM_LIST = 7, LOGIN = 18, GET_ATTRIBUTES = 24, FIND = 27, ENCRYPT_INIT = 29,
    ENCRYPT = 30, DECRYPT_INIT = 33, DECRYPT = 34, SIGN_INIT = 42, SIGN = 43, GENERATE_KEY = 58, GENERATE_PAIR = 59
};
enum {
    OK = 0, ARGUMENTS_BAD = 7, DEVICE_MEMORY = 0x31, MECHANISM_INVALID = 0x70, PIN_INCORRECT = 0xa0, PIN_LOCKED = 0xa4,
    BUFFER_TOO_SMALL = 0x150,
    CLOCK_ON_TOKEN = 0x40, COUNT_LOW = 0x10000, FINAL_TRY = 0x20000, LOCKED = 0x40000, DERIVE = 0x10c, LOCAL = 0x163
};
/* What CONTROL holds; the last ones are told by the module. */
enum { CLOCK, NULS, COUNTED, WRONG, SMALL, TWICE, NONE, MEMORY, WITHOUT, ARGUMENTS, DERIVES, FOREIGN, LOGINS, MADE, NUMBERS };

static struct list inner, outer;
static volatile uint64_t *control;

static int spends(int which) {
    uint64_t left = control[which];
    while (left && !__sync_bool_compare_and_swap(&control[which], left, left - 1)) left = control[which];
    return left != 0;
}

static UL initialize(struct start *how) {
    const char *told = how ? how->reserved : NULL;
    if (control[ARGUMENTS] && (!told || strcmp(told, "start='here' flags=a%b"))) return ARGUMENTS_BAD;
    if (!how) return inner.call[INITIALIZE](NULL);
    struct start plain = *how;
    plain.reserved = NULL;
    return inner.call[INITIALIZE](&plain);
}

static void nuls(byte *text, int length) {
    while (length && text[length - 1] == ' ') text[--length] = 0;
}

static UL token_info(UL slot, struct token *info) {
    UL answer = inner.call[TOKEN_INFO](slot, info);
    if (answer) return answer;
    if (control[NULS]) nuls(info->label, 32), nuls(info->maker, 32), nuls(info->model, 16), nuls(info->serial, 16);
    if (control[CLOCK]) info->flags |= CLOCK_ON_TOKEN, memcpy(info->clock, "14:00:13\n       ", 16);
    if (control[COUNTED]) {
        info->flags &= ~(UL)(COUNT_LOW | FINAL_TRY | LOCKED);
        info->flags |= control[WRONG] > 2 ? LOCKED : control[WRONG] == 2 ? FINAL_TRY : control[WRONG] ? COUNT_LOW : 0;
    }
    return OK;
}

static UL mechanism_list(UL slot, UL *list, UL *count) {
    UL answer = inner.call[MECHANISM_LIST](slot, list, count), kept = 0;
    if (answer || !list) return answer;
    for (UL i = 0; i < *count; i++)
        if (list[i] != control[WITHOUT]) list[kept++] = list[i];
    *count = kept;
    return OK;
}

static UL login(UL session, UL who, const byte *pin, UL length) {
    __sync_fetch_and_add(&control[LOGINS], 1);
    if (control[COUNTED] && control[WRONG] > 2) return PIN_LOCKED;
    UL answer = inner.call[LOGIN](session, who, pin, length);
    if (answer == PIN_INCORRECT) control[WRONG]++;
    else if (!answer) control[WRONG] = 0;
    return answer;
}

static UL get_attributes(UL session, UL object, struct attribute *wanted, UL count) {
    UL answer = inner.call[GET_ATTRIBUTES](session, object, wanted, count);
    for (UL i = 0; control[FOREIGN] && i < count; i++)
        if (wanted[i].type == LOCAL && wanted[i].value && wanted[i].length == 1) *(byte *)wanted[i].value = 0;
    return answer;
}

static UL find(UL session, UL *objects, UL most, UL *count) {
    UL answer = inner.call[FIND](session, objects, most, count);
    if (answer || !*count) return answer;
    if (spends(NONE)) *count = 0;
    else if (*count < most && spends(TWICE)) objects[(*count)++] = objects[0];
    return OK;
}

/* What SoftHSM would ask room for, less 16 bytes. The operation goes on until there is room enough, or ends (2). */
static UL filled(int which, UL session, byte *in, UL length, byte *out, UL *room) {
    byte scratch[4096];
    UL size = sizeof scratch, answer = inner.call[which](session, in, length, out, room);
    if (control[SMALL] && !answer && !out) *room -= 16;
    if (control[SMALL] == 2 && answer == BUFFER_TOO_SMALL) inner.call[which](session, in, length, scratch, &size);
    return answer;
}
static UL encrypt(UL a, byte *b, UL c, byte *d, UL *e) { return filled(ENCRYPT, a, b, c, d, e); }
static UL decrypt(UL a, byte *b, UL c, byte *d, UL *e) { return filled(DECRYPT, a, b, c, d, e); }
static UL sign(UL a, byte *b, UL c, byte *d, UL *e) { return filled(SIGN, a, b, c, d, e); }

static UL begun(int which, UL session, struct mechanism *how, UL key) {
    if (control[WITHOUT] && how->number == control[WITHOUT]) return MECHANISM_INVALID;
    return inner.call[which](session, how, key);
}
static UL encrypt_init(UL a, struct mechanism *b, UL c) { return begun(ENCRYPT_INIT, a, b, c); }
static UL decrypt_init(UL a, struct mechanism *b, UL c) { return begun(DECRYPT_INIT, a, b, c); }
static UL sign_init(UL a, struct mechanism *b, UL c) { return begun(SIGN_INIT, a, b, c); }

/* A template with CKA_DERIVE true, where it does not say otherwise. */
static UL derivable(const struct attribute *given, UL count, struct attribute *made) {
    static byte yes = 1;
    int said = !control[DERIVES];
    for (UL i = 0; i < count; i++) said |= (made[i] = given[i]).type == DERIVE;
    if (!said) made[count++] = (struct attribute){DERIVE, &yes, 1};
    return count;
}

static UL generate_key(UL session, struct mechanism *how, struct attribute *given, UL count, UL *key) {
    struct attribute made[40];
    if (control[WITHOUT] && how->number == control[WITHOUT]) return MECHANISM_INVALID;
    if (spends(MEMORY)) return DEVICE_MEMORY;
    count = derivable(given, count, made);
    __sync_fetch_and_add(&control[MADE], 1);
    return inner.call[GENERATE_KEY](session, how, made, count, key);
}

static UL generate_pair(UL session, struct mechanism *how, void *public, UL publics, struct attribute *given, UL count,
                        UL *one, UL *other) {
    struct attribute made[40];
    if (spends(MEMORY)) return DEVICE_MEMORY;
    count = derivable(given, count, made);
    __sync_fetch_and_add(&control[MADE], 1);
    return inner.call[GENERATE_PAIR](session, how, public, publics, made, count, one, other);
}

UL C_GetFunctionList(struct list **told) {
    static const struct { int which; Function mine; } replaced[] = {
        {INITIALIZE, initialize}, {TOKEN_INFO, token_info}, {MECHANISM_LIST, mechanism_list}, {LOGIN, login},
        {GET_ATTRIBUTES, get_attributes}, {FIND, find}, {ENCRYPT_INIT, encrypt_init}, {ENCRYPT, encrypt},
        {DECRYPT_INIT, decrypt_init}, {DECRYPT, decrypt}, {SIGN_INIT, sign_init}, {SIGN, sign},
        {GENERATE_KEY, generate_key}, {GENERATE_PAIR, generate_pair},
    };
    if (!control) {
        void *library = dlopen(INNER, RTLD_NOW | RTLD_LOCAL);
        Function get = library ? (Function)dlsym(library, "C_GetFunctionList") : NULL;
        int file = open(CONTROL, O_RDWR);
        struct list *found;
        if (!get || file < 0 || get(&found)) return 5;
        control = mmap(NULL, NUMBERS * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        inner = outer = *found;
        for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++) outer.call[replaced[i].which] = replaced[i].mine;
    }
    *told = &outer;
    return OK;
}
