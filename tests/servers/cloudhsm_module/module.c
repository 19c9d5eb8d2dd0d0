/* A PKCS#11 module in front of SoftHSM: with bad weather on demand and, if built with CLOUDHSM, the habits of AWS CloudHSM.
 *
 * INNER is the SoftHSM library that does the work, a copy that no other module of the process uses. CONTROL is a file of
 * 64-bit numbers that whoever tests writes at any time; weather.py has the other side of it.
 */
#include "weather.h"

#ifndef CLOUDHSM
#define CLOUDHSM 0
#endif

static void blank(byte *to, const char *text) {
    memset(to, ' ', 32);
    memcpy(to, text, strlen(text));
}

static UL get_info(byte *info) {
    UL answer = CALL(GET_INFO, (UL)info, 0, 0, 0, 0, 0, 0, 0);
    if (CLOUDHSM && !answer) blank(info + 2, "Amazon Web Services stand-in");
    return answer;
}

static UL get_token_info(UL slot, byte *info) {
    UL answer = CALL(GET_TOKEN_INFO, slot, (UL)info, 0, 0, 0, 0, 0, 0);
    if (CLOUDHSM && !answer) blank(info + 32, "AWS CloudHSM stand-in");
    return answer;
}

static UL initialize(void *arguments) {
    forget(0, NULL);
    memset(young, 0, sizeof young);
    dropped_for = control[DROP_NOW];
    return CALL(INITIALIZE, (UL)arguments, 0, 0, 0, 0, 0, 0, 0);
}

static UL finalize(void *reserved) {
    forget(0, NULL);
    return CALL(FINALIZE, (UL)reserved, 0, 0, 0, 0, 0, 0, 0);
}

static void note(UL handle, UL slot) {
    struct session *made = calloc(1, sizeof *made);
    made->handle = handle, made->slot = slot;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < MOST; i++)
        if (!sessions[i]) {
            sessions[i] = made;
            break;
        }
    if ((uint64_t)++open_count > control[LARGEST_POOL]) control[LARGEST_POOL] = open_count;
    pthread_mutex_unlock(&mutex);
}

static UL open_session(UL slot, UL flags, void *application, void *notify, UL *handle) {
    UL bad = weather();
    if (bad) return bad;
    if (CLOUDHSM && !(flags & 2)) return SESSION_READ_ONLY;
    if (CLOUDHSM && (uint64_t)open_count >= (control[SESSIONS] ? control[SESSIONS] : 1024)) return SESSION_COUNT;
    /* Noted down before anybody may drop it. */
    pthread_rwlock_rdlock(&calls);
    UL answer = inner.call[OPEN_SESSION](slot, flags, application, notify, handle);
    if (!answer) note(*handle, slot);
    pthread_rwlock_unlock(&calls);
    return answer;
}

static UL close_session(UL handle) {
    UL answer = CALL(CLOSE_SESSION, handle, 0, 0, 0, 0, 0, 0, 0);
    if (!answer) forget(handle, NULL);
    return answer;
}

static UL close_all_sessions(UL slot) {
    pthread_rwlock_wrlock(&calls);
    UL answer = inner.call[CLOSE_ALL_SESSIONS](slot);
    forget(0, &slot);
    pthread_rwlock_unlock(&calls);
    return answer;
}

static UL login(UL handle, UL who, const char *pin, UL length) {
    UL bad = weather();
    if (bad) return bad;
    if (CLOUDHSM) {
        const char *colon = memchr(pin, ':', length);
        if (!colon || colon == pin) return PIN_INCORRECT;
        length -= colon + 1 - pin, pin = colon + 1;
    }
    return CALL(LOGIN, handle, who, (UL)pin, length, 0, 0, 0, 0);
}

/* A key that was just made: hidden from some finds, then not known to some uses. */
static void is_young(UL handle) {
    pthread_mutex_lock(&mutex);
    int at = next_young++ % YOUNG;
    young[at].handle = handle, young[at].hidden = control[HIDDEN], young[at].stale = control[STALE];
    pthread_mutex_unlock(&mutex);
}

static int spends(UL handle, int hidden) {
    int spent = 0;
    pthread_mutex_lock(&mutex);
    for (int i = 0; CLOUDHSM && i < YOUNG; i++) {
        uint64_t *left = hidden ? &young[i].hidden : &young[i].stale;
        if (young[i].handle == handle && *left) (*left)--, spent = 1;
    }
    pthread_mutex_unlock(&mutex);
    return spent;
}

static UL find(UL handle, UL *objects, UL most, UL *count) {
    UL answer = CALL(FIND, handle, (UL)objects, most, (UL)count, 0, 0, 0, 0), kept = 0;
    if (answer) return answer;
    for (UL i = 0; i < *count; i++)
        if (!spends(objects[i], 1)) objects[kept++] = objects[i];
    *count = kept;
    return OK;
}

/* Attributes that keys of a type do not have (user guide, "Supported key attributes"), and those that no key has. */
static int unsupported(UL key_type, UL attribute) {
    static const UL known[] = {0x0, 0x1, 0x2, 0x3, 0x11, 0x86, 0x100, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x108,
                               0x10a, 0x10c, 0x161, 0x162, 0x163, 0x164, 0x165, 0x170, 0x172, 0x180, 0x181, 0x210};
    int is_known = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) is_known |= known[i] == attribute;
    return !is_known || ((key_type == 0x10 || key_type == 0x3) && attribute >= 0x104 && attribute <= 0x107);
}

static UL check(UL key_type, const struct attribute *template, UL count) {
    for (UL i = 0; CLOUDHSM && i < count; i++) {
        if (unsupported(key_type, template[i].type)) return ATTRIBUTE_TYPE_INVALID;
        if (key_type == 0x10 && template[i].type == 0x161 && *(UL *)template[i].value > 64) return KEY_SIZE_RANGE;
    }
    return OK;
}

static UL get_attributes(UL handle, UL object, struct attribute *template, UL count) {
    UL bad = weather(), key_type = ~0UL;
    if (bad) return bad;
    UL answer = CALL(GET_ATTRIBUTES, handle, object, (UL)template, count, 0, 0, 0, 0);
    struct attribute asked = {0x100, &key_type, sizeof key_type};
    if (!CLOUDHSM) return answer;
    bad = CALL(GET_ATTRIBUTES, handle, object, (UL)&asked, 1, 0, 0, 0, 0);
    if (bad == SESSION_HANDLE_INVALID || bad == OBJECT_HANDLE_INVALID) return bad;
    for (UL i = 0; i < count; i++)
        if (unsupported(key_type, template[i].type)) template[i].length = -1, answer = ATTRIBUTE_TYPE_INVALID;
    return answer;
}

static uint64_t keys_of(UL handle, UL class) {
    byte yes = 1;
    struct attribute template[] = {{0x0, &class, sizeof class}, {0x1, &yes, 1}};
    UL object, count = 1;
    uint64_t keys = 0;
    CALL(FIND_INIT, handle, (UL)template, 2, 0, 0, 0, 0, 0);
    while (!CALL(FIND, handle, (UL)&object, 1, (UL)&count, 0, 0, 0, 0) && count) keys++;
    CALL(FIND_FINAL, handle, 0, 0, 0, 0, 0, 0, 0);
    return keys;
}

static UL room(UL handle, int pair) {
    if (!CLOUDHSM) return OK;
    uint64_t pairs = keys_of(handle, 3), all = pairs + keys_of(handle, 4);
    if (all >= (control[KEYS] ? control[KEYS] : 16666)) return DEVICE_MEMORY;
    return pair && pairs >= (control[PAIRS] ? control[PAIRS] : 3333) ? DEVICE_MEMORY : OK;
}

static UL generate_key(UL handle, struct mechanism *how, struct attribute *template, UL count, UL *key) {
    UL bad = weather();
    if (bad || (bad = check(how->number == 0x350 ? 0x10 : 0x1f, template, count)) || (bad = room(handle, 0))) return bad;
    UL answer = CALL(GENERATE_KEY, handle, (UL)how, (UL)template, count, (UL)key, 0, 0, 0);
    if (!answer) is_young(*key);
    return answer;
}

static UL generate_pair(ARGUMENTS) {
    UL bad = weather();
    if (bad || (bad = check(0x3, (struct attribute *)c, d)) || (bad = check(0x3, (struct attribute *)e, f))) return bad;
    if ((bad = room(a, 1))) return bad;
    UL answer = CALL(GENERATE_PAIR, a, b, c, d, e, f, g, h);
    if (!answer) is_young(*(UL *)g), is_young(*(UL *)h);
    return answer;
}

static UL destroy_object(UL handle, UL object) {
    UL bad = weather();
    return bad ? bad : CALL(DESTROY_OBJECT, handle, object, 0, 0, 0, 0, 0, 0);
}

static UL encrypt_init(UL handle, struct mechanism *how, UL key) {
    static const byte zeros[NONCE];
    struct session *it = of(handle);
    if (!it) return SESSION_HANDLE_INVALID;
    it->doing = NOTHING;
    if (spends(key, 0)) return KEY_HANDLE_INVALID;
    struct mechanism mine = {AES_GCM, &it->gcm, sizeof it->gcm};
    if (!CLOUDHSM || (how->number != AES_GCM && how->number != VENDOR_AES_GCM))
        return CALL(ENCRYPT_INIT, handle, (UL)how, key, 0, 0, 0, 0, 0);
    if (how->length != sizeof it->gcm) return MECHANISM_PARAM_INVALID;
    it->gcm = *(struct gcm *)how->parameter;
    it->wanted = it->gcm.iv;
    int prepends = how->number == VENDOR_AES_GCM;
    if (prepends ? it->wanted != NULL
                 : it->gcm.iv_bits || it->gcm.iv_length != NONCE || memcmp(it->wanted, zeros, NONCE))
        return MECHANISM_PARAM_INVALID;
    if (getrandom(it->nonce, NONCE, 0) != NONCE) return FUNCTION_FAILED;
    it->gcm.iv = it->nonce, it->gcm.iv_length = NONCE;
    UL answer = CALL(ENCRYPT_INIT, handle, (UL)&mine, key, 0, 0, 0, 0, 0);
    if (!answer) it->doing = prepends ? PREPEND : WRITE_BACK;
    return answer;
}

/* Ends an operation that failed on its way, as the standard says it does. */
static UL ended(int which, UL handle, byte *in, UL length, UL with) {
    byte scratch[LARGEST + 64];
    UL size = sizeof scratch;
    CALL(which, handle, (UL)in, length > LARGEST ? 0 : length, (UL)scratch, (UL)&size, 0, 0, 0);
    return with;
}

static UL encrypt(UL handle, byte *in, UL length, byte *out, UL *size) {
    struct session *it = of(handle);
    if (!it) return SESSION_HANDLE_INVALID;
    UL extra = it->doing == PREPEND ? NONCE : 0, bad = out ? weather() : OK;
    if (bad == SESSION_HANDLE_INVALID) return bad;
    if (CLOUDHSM && length > LARGEST) bad = DATA_LEN_RANGE;
    if (bad) return ended(ENCRYPT, handle, in, length, bad);
    if (extra && (!out || *size < length + extra + TAG)) {
        *size = length + extra + TAG;
        return out ? BUFFER_TOO_SMALL : OK;
    }
    UL room = *size - extra, answer = CALL(ENCRYPT, handle, (UL)in, length, (UL)(out ? out + extra : out), (UL)&room, 0, 0, 0);
    *size = room + extra;
    if (!answer && out && it->doing == WRITE_BACK) memcpy(it->wanted, it->nonce, NONCE);
    if (!answer && extra) memcpy(out, it->nonce, NONCE);
    return answer;
}

static UL decrypt_init(UL handle, struct mechanism *how, UL key) {
    struct session *it = of(handle);
    if (!it) return SESSION_HANDLE_INVALID;
    it->doing = NOTHING;
    if (spends(key, 0)) return KEY_HANDLE_INVALID;
    if (!CLOUDHSM || how->number != VENDOR_AES_GCM) return CALL(DECRYPT_INIT, handle, (UL)how, key, 0, 0, 0, 0, 0);
    if (how->length != sizeof it->gcm) return MECHANISM_PARAM_INVALID;
    it->gcm = *(struct gcm *)how->parameter;
    if (it->gcm.iv || it->gcm.aad_length > LARGEST) return MECHANISM_PARAM_INVALID;
    memcpy(it->aad, it->gcm.aad, it->gcm.aad_length);
    it->gcm.aad = it->aad, it->key = key, it->doing = OPEN_PREPENDED;
    return OK;
}

static UL decrypt(UL handle, byte *in, UL length, byte *out, UL *size) {
    struct session *it = of(handle);
    if (!it) return SESSION_HANDLE_INVALID;
    UL skip = it->doing == OPEN_PREPENDED ? NONCE : 0, bad = out ? weather() : OK;
    if (bad == SESSION_HANDLE_INVALID) return bad;
    if (CLOUDHSM && length > LARGEST) bad = DATA_LEN_RANGE;
    if (bad) return skip ? bad : ended(DECRYPT, handle, in, length, bad);
    if (skip && length < NONCE + TAG) return ENCRYPTED_DATA_INVALID;
    if (skip && !out) {
        *size = length - NONCE - TAG;
        return OK;
    }
    if (skip) {
        struct mechanism mine = {AES_GCM, &it->gcm, sizeof it->gcm};
        it->gcm.iv = in, it->gcm.iv_length = NONCE;
        bad = CALL(DECRYPT_INIT, handle, (UL)&mine, it->key, 0, 0, 0, 0, 0);
        if (bad) return bad;
    }
    /* SoftHSM asks for room for the tag, too. */
    byte scratch[LARGEST];
    UL room = sizeof scratch, fits = !skip || *size >= length - NONCE - TAG;
    if (!fits) *size = length - NONCE - TAG;
    if (!fits) return BUFFER_TOO_SMALL;
    UL answer = CALL(DECRYPT, handle, (UL)(in + skip), length - skip, (UL)(skip ? scratch : out), (UL)(skip ? &room : size), 0, 0, 0);
    if (skip && !answer) memcpy(out, scratch, *size = room);
    return CLOUDHSM && answer == GENERAL_ERROR ? ENCRYPTED_DATA_INVALID : answer;
}

static UL sign_init(UL handle, struct mechanism *how, UL key) {
    if (spends(key, 0)) return KEY_HANDLE_INVALID;
    return CALL(SIGN_INIT, handle, (UL)how, key, 0, 0, 0, 0, 0);
}

static UL sign(UL handle, byte *in, UL length, byte *out, UL *size) {
    UL bad = out ? weather() : OK;
    if (CLOUDHSM && length > LARGEST) bad = DATA_LEN_RANGE;
    if (bad) return bad == SESSION_HANDLE_INVALID ? bad : ended(SIGN, handle, in, length, bad);
    return CALL(SIGN, handle, (UL)in, length, (UL)out, (UL)size, 0, 0, 0);
}

/* AES key wrap has a number of the vendor's only. */
static UL renamed(int which, ARGUMENTS) {
    struct mechanism how = *(struct mechanism *)b;
    if (CLOUDHSM && how.number == AES_KEY_WRAP) return MECHANISM_INVALID;
    if (CLOUDHSM && how.number == VENDOR_AES_KEY_WRAP) how.number = AES_KEY_WRAP;
    UL bad = weather();
    return bad ? bad : CALL(which, a, (UL)&how, c, d, e, f, g, h);
}
static UL wrap_key(ARGUMENTS) { return renamed(WRAP_KEY, a, b, c, d, e, f, g, h); }
static UL unwrap_key(ARGUMENTS) { return renamed(UNWRAP_KEY, a, b, c, d, e, f, g, h); }

UL C_GetFunctionList(struct list **told) {
    static const struct { int which; Function mine; } replaced[] = {
        {INITIALIZE, initialize}, {FINALIZE, finalize}, {GET_INFO, get_info}, {GET_TOKEN_INFO, get_token_info},
        {GET_FUNCTION_LIST, C_GetFunctionList}, {OPEN_SESSION, open_session}, {CLOSE_SESSION, close_session},
        {CLOSE_ALL_SESSIONS, close_all_sessions}, {LOGIN, login}, {CREATE_OBJECT, create_object},
        {DESTROY_OBJECT, destroy_object}, {GET_ATTRIBUTES, get_attributes}, {FIND_INIT, find_init}, {FIND, find},
        {FIND_FINAL, find_final}, {GET_SESSION_INFO, get_session_info}, {ENCRYPT_INIT, encrypt_init}, {ENCRYPT, encrypt}, {DECRYPT_INIT, decrypt_init},
        {DECRYPT, decrypt}, {SIGN_INIT, sign_init}, {SIGN, sign}, {GENERATE_KEY, generate_key},
        {GENERATE_PAIR, generate_pair}, {WRAP_KEY, wrap_key}, {UNWRAP_KEY, unwrap_key},
    };
    if (!control) {
        void *library = dlopen(INNER, RTLD_NOW | RTLD_LOCAL);
        Function get = library ? (Function)dlsym(library, "C_GetFunctionList") : NULL;
        int file = open(CONTROL, O_RDWR);
        struct list *found;
        if (!get || file < 0 || get(&found)) return GENERAL_ERROR;
        control = mmap(NULL, NUMBERS * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        inner = outer = *found;
        for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++) outer.call[replaced[i].which] = replaced[i].mine;
    }
    *told = &outer;
    return OK;
}

/* By name, for tests that act behind the application's back. */
UL shim_close_all(UL slot) { return close_all_sessions(slot); }
UL shim_slots(UL *slots, UL *count) { return ((Function)inner.call[4])(1, slots, count); }
