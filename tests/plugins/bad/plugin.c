/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin that passes every check of `ephor plugin check`, and with one BAD_... macro set a plugin
 * that breaks one thing. tests/e2e/plugin_check_bad_test.py compiles it once per check and demands
 * that this check fails. What each macro breaks stands where it is used.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ephor/abi.h>
#if __has_include(<ephor/note.h>)
#include <ephor/note.h>
#endif

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef PLUGIN_ID
#define PLUGIN_ID "good"
#endif
#define MAYBE_UNUSED __attribute__((unused))
#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }

/* ---- what it says it is; each macro can be replaced on the command line -------------------- */

#ifndef MAGIC
#define MAGIC EPHOR_ENTRY_MAGIC
#endif
#ifndef ENTRY_SIZE
#define ENTRY_SIZE sizeof(ephor_entry)
#endif
#ifndef ABI_MAJOR
#define ABI_MAJOR EPHOR_ABI_MAJOR
#endif
#ifndef INFO_COUNT
#define INFO_COUNT 1
#endif
#ifndef ID_TEXT
#define ID_TEXT PLUGIN_ID
#endif
#ifndef VERSION_TEXT
#define VERSION_TEXT "1.2.3"
#endif
#ifndef SUMMARY_TEXT
#define SUMMARY_TEXT "Counts events, and breaks one rule if it is asked to."
#endif
#ifndef CAPABILITIES
#define CAPABILITIES 0
#endif
#ifndef SCHEMA_KEY
#define SCHEMA_KEY                                                                       \
  "{\"type\":\"integer\",\"minimum\":0,\"maximum\":100,\"default\":10,\"examples\":[5]," \
  "\"description\":\"events between two reports\"}"
#endif
#ifndef SCHEMA_ROOT
#define SCHEMA_ROOT "\"type\":\"object\",\"additionalProperties\":false"
#endif
#ifndef SCHEMA_TEXT
#define SCHEMA_TEXT "{" SCHEMA_ROOT ",\"properties\":{\"threshold\":" SCHEMA_KEY "}}"
#endif

#ifndef NOTE_VERSION
#define NOTE_VERSION VERSION_TEXT
#endif
#if defined(EPHOR_NOTE_WITH) && !defined(BAD_NO_NOTE)
EPHOR_NOTE_WITH(ID_TEXT, NOTE_VERSION, SUMMARY_TEXT, CAPABILITIES, SCHEMA_TEXT,
                ",\"optional_extensions\":[\"ephor.query/1\"]");
#endif

/* ---- one instance ---------------------------------------------------------------------------- */

typedef struct counter {
  const ephor_host* host;
  ephor_view config; /* read in create only; BAD_KEEPS_VIEW reads it later */
  uint64_t count;
  int is_started, is_stopped, has_failed, is_drained;
  pthread_t thread;
  int has_thread;
} counter;

static int instances_alive
    MAYBE_UNUSED; /* a plugin that shares it between its instances is a bad one */
static int instances_made MAYBE_UNUSED;

static ephor_status failed(ephor_error* error, ephor_status code, const char* message,
                           const char* pointer) {
  error->code = code;
  snprintf(error->message, sizeof error->message, "%s", message);
  snprintf(error->json_pointer, sizeof error->json_pointer, "%s", pointer);
  return code;
}

static ephor_view view_of(const char* text) {
  ephor_view view = {text, strlen(text)};
  return view;
}

MAYBE_UNUSED static ephor_error fresh_error(void) {
  ephor_error error;
  memset(&error, 0, sizeof error);
  error.struct_size = sizeof error;
  return error;
}

static const void* extension(counter* self, const char* id) {
  return self->host->get_extension(self->host->context, view_of(id));
}

static int contains(ephor_view text, const char* wanted) {
  return text.size > 0 && memmem(text.data, text.size, wanted, strlen(wanted)) != NULL;
}

static void* sleep_long(void* unused) {
  (void)unused;
  struct timespec pause = {30, 0};
  nanosleep(&pause, NULL);
  return NULL;
}

MAYBE_UNUSED static void start_thread_and_forget_it(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, sleep_long, NULL) == 0) pthread_detach(thread);
}

MAYBE_UNUSED static void map_memory(void) {
  mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

MAYBE_UNUSED static void open_file(void) {
  if (open("/dev/null", O_RDONLY) < 0) abort();
}

MAYBE_UNUSED static void lose_memory(void) {
  char* volatile lost = malloc(100);
  if (lost != NULL) lost[0] = 1;
}

static ephor_status answer(void* user, ephor_view request, ephor_reply* reply, ephor_error* error) {
  char text[64];
  (void)request;
  (void)error;
  snprintf(text, sizeof text, "{\"count\":%llu}", (unsigned long long)((counter*)user)->count);
  return reply->write(reply->context, view_of(text));
}

static ephor_status command(void* user, ephor_view arguments, ephor_writer* out,
                            ephor_error* error) {
  (void)user;
  (void)arguments;
  (void)error;
  return out->write(out->context, view_of("nothing to do\n"));
}

static ephor_status provide_query(counter* self, const char* name, const char* summary,
                                  ephor_error* error) {
  const ephor_query* query = extension(self, "ephor.query/1");
  if (query == NULL) return EPHOR_OK;
  return query->provide(query->context, view_of(name), view_of(summary), answer, self, error);
}

static void say(counter* self, int32_t level, const char* text) {
  const ephor_log* log = extension(self, "ephor.log/1");
  if (log != NULL) log->log(log->context, level, view_of(text));
}

#ifndef TABLES
#define TABLES                                                                     \
  "{\"version\":1,\"tables\":[{\"name\":\"counts\",\"key\":[\"id\"],\"columns\":[" \
  "{\"name\":\"id\",\"type\":\"text\"},{\"name\":\"count\",\"type\":\"integer\"}]}]}"
#endif
#ifndef QUERY_SUMMARY
#define QUERY_SUMMARY "how many events came"
#endif
#ifndef COMMAND_SUMMARY
#define COMMAND_SUMMARY "does nothing"
#endif
#ifndef ROUTE_SCOPE
#define ROUTE_SCOPE "read"
#endif
#ifndef REQUEST_SCHEMA
#define REQUEST_SCHEMA "{\"type\":\"object\"}"
#endif
#ifndef SERIES_NAME
#define SERIES_NAME "ephor_good_events_total"
#endif
#ifndef SUBSCRIPTION_SIZE
#define SUBSCRIPTION_SIZE sizeof(ephor_subscription)
#endif
#ifndef PATTERN
#define PATTERN "good.in"
#endif
#ifndef POLICY
#define POLICY EPHOR_POLICY_REPLAY
#endif

static ephor_status subscribe(counter* self, ephor_error* error) {
  const ephor_view patterns[] = {TEXT("ephor.tick"), TEXT(PATTERN)};
  ephor_subscription wanted;
  memset(&wanted, 0, sizeof wanted);
  wanted.struct_size = SUBSCRIPTION_SIZE;
  wanted.policy = POLICY;
  wanted.patterns = patterns;
  wanted.pattern_count = 2;
  return self->host->subscribe(self->host->context, &wanted, error);
}

static ephor_status add_route(counter* self, ephor_error* error) {
  const ephor_http* http = extension(self, "ephor.http/1");
  ephor_http_route route;
  if (http == NULL) return EPHOR_OK;
  memset(&route, 0, sizeof route);
  route.struct_size = sizeof route;
  route.method = view_of("GET");
  route.path = view_of("/api/good/{id}");
  route.query = view_of("good.count");
  route.scope = view_of(ROUTE_SCOPE);
  route.summary = view_of(QUERY_SUMMARY " of one");
  route.request_schema = view_of(REQUEST_SCHEMA);
  return http->add_route(http->context, &route, error);
}

/* Everything in create, so that a failed start has little to clean up. */
static ephor_status register_all(counter* self, ephor_error* error) {
  const ephor_storage* storage = extension(self, "ephor.storage/1");
  const ephor_command* commands = extension(self, "ephor.command/1");
  const ephor_metrics* metrics = extension(self, "ephor.metrics/1");
  const ephor_health* health = extension(self, "ephor.health/1");
  ephor_status status = subscribe(self, error);
  if (status == EPHOR_OK && storage != NULL)
    status = storage->declare(storage->context, view_of(TABLES), error);
  if (status == EPHOR_OK && commands != NULL)
    status = commands->provide(commands->context, view_of("good"), view_of(COMMAND_SUMMARY),
                               command, self, error);
  if (status == EPHOR_OK && metrics != NULL) {
    uint64_t series = 0;
    status = metrics->series(metrics->context, EPHOR_METRIC_COUNTER, view_of(SERIES_NAME),
                             view_of("events that came"), view_of("{}"), &series, error);
#ifdef BAD_HANDLE
    metrics->add(metrics->context, 999, 1.0); /* a series that nobody gave out */
#else
    if (status == EPHOR_OK) metrics->add(metrics->context, series, 0.0);
#endif
  }
#ifdef BAD_HEALTH
  if (health != NULL) health->report(health->context, EPHOR_HEALTH_FAILED, view_of(""));
#else
  if (health != NULL) health->report(health->context, EPHOR_HEALTH_OK, view_of("begins"));
#endif
  return status;
}

static ephor_status start(void* object, ephor_error* error) {
  counter* self = object;
  ephor_status status = provide_query(self, "good.count", QUERY_SUMMARY, error);
  if (status == EPHOR_OK) status = add_route(self, error);
  if (status != EPHOR_OK) {
    self->has_failed = 1;
    return status;
  }
  self->is_started = 1;
#ifdef BAD_LOG_LEVEL
  say(self, 9, "started");
#elif defined(BAD_LOG_TEXT)
  say(self, EPHOR_LOG_INFO, "\xFF\xFE");
#else
  say(self, EPHOR_LOG_INFO, "started");
#endif
#ifdef BAD_START_FAILS
  return failed(error, EPHOR_IO, "it never starts", "");
#endif
#ifdef BAD_START_PRINTS
  puts("started");
  fflush(stdout);
#endif
#ifdef BAD_START_CHANGES_LOCALE
  setlocale(LC_ALL, "C.UTF-8");
#endif
#ifdef BAD_START_THREAD
  start_thread_and_forget_it();
#endif
#ifdef BAD_START_SOCKET
  if (socket(AF_UNIX, SOCK_STREAM, 0) < 0) abort();
#endif
#ifdef BAD_START_DESCRIPTOR
  open_file();
#endif
#ifdef BAD_START_HEAP
  lose_memory();
#endif
#ifdef BAD_START_MAPPING
  map_memory();
#endif
#ifdef BAD_PUBLISHES_IN_START
  {
    ephor_draft draft;
    ephor_error unused = fresh_error();
    memset(&draft, 0, sizeof draft);
    draft.struct_size = sizeof draft;
    draft.topic = view_of("good.out");
    draft.data_json = view_of("{}");
    self->host->publish(self->host->context, &draft, 1, &unused);
  }
#endif
#ifdef BAD_THROWS
  {
    extern void throw_something(void);
    throw_something();
  }
#endif
  return EPHOR_OK;
}

#ifndef DRAFT_CAUSE
#define DRAFT_CAUSE event->sequence
#endif

static ephor_status on_events(void* object, const ephor_event* events, uint32_t count,
                              ephor_error* error) {
  counter* self = object;
  for (uint32_t i = 0; i < count; ++i) {
    const ephor_event* event = &events[i];
    const ephor_view topic = self->host->topic_name(self->host->context, event->topic);
    ++self->count;
    if (contains(topic, "good.in")) {
      ephor_draft draft;
      memset(&draft, 0, sizeof draft);
      draft.struct_size = sizeof draft;
      draft.topic = view_of("good.out");
      draft.data_json = view_of("{\"came\":1}");
      draft.cause_sequence = DRAFT_CAUSE;
      const ephor_status status = self->host->publish(self->host->context, &draft, 1, error);
      if (status != EPHOR_OK) return status;
    }
  }
#ifdef BAD_REGISTERS_LATE
  {
    ephor_error unused = fresh_error();
    provide_query(self, "good.late", "comes too late", &unused);
  }
#endif
#ifdef BAD_SILENT_FAILURE
  return EPHOR_IO;
#endif
#ifdef BAD_KEEPS_VIEW
  if (contains(self->config, "no such text")) abort();
#endif
#ifdef BAD_SHARES_INSTANCES
  if (instances_alive < 2) abort(); /* the other one took the common data along */
#endif
  (void)error;
  return EPHOR_OK;
}

static ephor_status drain(void* object, int64_t deadline_ns, ephor_error* error) {
  counter* self = object;
  self->is_drained = 1;
#ifdef BAD_DRAIN_FAILS
  return failed(error, EPHOR_IO, "it cannot drain", "");
#endif
#ifdef BAD_DRAIN_IGNORES_DEADLINE
  {
    struct timespec pause = {2, 0};
    nanosleep(&pause, NULL);
  }
#endif
  (void)deadline_ns;
  (void)error;
  return EPHOR_OK;
}

static ephor_status stop(void* object, ephor_error* error) {
  counter* self = object;
#ifdef BAD_STOP_NEEDS_START
  if (!self->is_started) abort();
#endif
#ifdef BAD_STOP_ONCE
  if (self->is_stopped) abort();
#endif
#ifdef BAD_STOP_AFTER_FAILED_START
  if (self->has_failed) abort();
#endif
#ifdef BAD_STOP_SLOW
  {
    struct timespec pause = {6, 0};
    nanosleep(&pause, NULL);
  }
#endif
  self->is_stopped = 1;
  (void)error;
  return EPHOR_OK;
}

static void destroy(void* object) {
  counter* self = object;
#ifdef BAD_DESTROY_NEEDS_START
  if (!self->is_started) abort();
#endif
#ifdef BAD_DESTROY_AFTER_DRAIN
  if (self->is_drained && !self->is_stopped) abort();
#endif
  --instances_alive;
  free(self);
}

#ifndef ROW_CELLS
#define ROW_CELLS 2
#endif

static ephor_status save(void* object, const ephor_rows* rows, ephor_writer* state,
                         ephor_error* error) {
  counter* self = object;
  ephor_cell cells[3];
  ephor_status status;
  memset(cells, 0, sizeof cells);
  cells[0].kind = EPHOR_CELL_TEXT;
  cells[0].bytes = view_of("all");
  cells[1].kind = EPHOR_CELL_INTEGER;
  cells[1].integer = (int64_t)self->count;
  status = rows->upsert(rows->context, view_of("counts"), cells, ROW_CELLS, error);
  if (status == EPHOR_OK) {
    const ephor_view bytes = {(const char*)&self->count, sizeof self->count};
    status = state->write(state->context, bytes);
  }
  return status;
}

static ephor_status load(void* object, uint32_t version, ephor_view state, ephor_error* error) {
  counter* self = object;
  if (version != 1 || state.size != sizeof self->count) {
    return failed(error, EPHOR_UNSUPPORTED, "found another state, expected eight bytes", "");
  }
  memcpy(&self->count, state.data, sizeof self->count);
  return EPHOR_OK;
}

#ifndef CHECKPOINT_SIZE
#define CHECKPOINT_SIZE sizeof(ephor_checkpoint)
#endif

static const void* get_extension(void* object, ephor_view id) {
  static const ephor_checkpoint checkpoint = {CHECKPOINT_SIZE, 1, save, load};
  const ephor_view wanted = TEXT("ephor.storage/1");
  (void)object;
#ifdef BAD_EXTENSION_FOR_ALL
  (void)wanted;
  (void)id;
  return &checkpoint;
#else
  return id.size == wanted.size && memcmp(id.data, wanted.data, id.size) == 0 ? &checkpoint : NULL;
#endif
}

/* Good enough to tell an object from what is none. */
static int is_object(ephor_view text) {
  uint64_t first = 0;
  uint64_t end = text.size;
  while (first < end && strchr(" \t\r\n", text.data[first]) != NULL) ++first;
  while (end > first && strchr(" \t\r\n", text.data[end - 1]) != NULL) --end;
  return end - first >= 2 && text.data[first] == '{' && text.data[end - 1] == '}';
}

#ifndef DRAIN_FUNCTION
#define DRAIN_FUNCTION drain
#endif

static ephor_status refusal(ephor_view config, ephor_error* error) {
#ifdef BAD_CREATE_FAILS
  return failed(error, EPHOR_INTERNAL, "it is never created", "");
#endif
#ifdef BAD_CREATE_REFUSES_SILENTLY
  /* Valid, and refused without saying where. */
  if (!contains(config, "\"threshold\":10}")) {
    return failed(error, EPHOR_INVALID, "the threshold must be 10", "");
  }
#endif
#ifdef BAD_CREATE_FAILS_AT_ZERO
  if (contains(config, "\"threshold\":0}"))
    return failed(error, EPHOR_INTERNAL, "divided by 0", "");
#endif
#ifdef BAD_CREATE_TRUSTS_TYPES
  if (contains(config, "\"threshold\":null")) abort();
#endif
#ifdef BAD_CREATE_TRUSTS_JSON
  if (config.data[0] != '{') abort();
  if (config.size == 0) abort();
#endif
#ifdef BAD_CREATE_SEARCHES_TEXT
  if (!contains(config, "\"threshold\":")) {
    return failed(error, EPHOR_INVALID, "found no threshold", "/threshold");
  }
#endif
#ifdef BAD_CREATE_REFUSES_UNKNOWN
  if (contains(config, "x_unknown")) {
    return failed(error, EPHOR_INVALID, "an unknown key", "/x_unknown_to_it");
  }
#endif
#ifdef BAD_CREATE_REFUSES_SEVEN
  if (contains(config, "\"threshold\":7")) {
    return failed(error, EPHOR_INVALID, "not seven", "/threshold");
  }
#endif
  if (is_object(config)) return EPHOR_OK;
#ifdef BAD_FAILURE_SILENT
  return EPHOR_INVALID;
#else
  return failed(error, EPHOR_INVALID, "config: found no object, expected one", "");
#endif
}

static ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                           ephor_plugin* out, ephor_error* error) {
  ephor_status status = refusal(config, error);
  counter* self;
  ephor_plugin table;
  (void)instance;
  if (status != EPHOR_OK) {
#ifdef BAD_FAILURE_WRITES_OUT
    out->self = error;
#endif
#ifdef BAD_FAILURE_LEAKS
    lose_memory();
#endif
    return status;
  }
#ifdef BAD_CREATED_ONCE
  if (instances_made > 0) return failed(error, EPHOR_CONFLICT, "there was one before", "");
#endif
  self = calloc(1, sizeof *self);
  if (self == NULL) return failed(error, EPHOR_FULL, "out of memory", "");
  self->host = host;
  self->config = config;
  status = register_all(self, error);
  if (status != EPHOR_OK) {
    free(self);
    return status;
  }
  ++instances_alive;
  ++instances_made;
#ifdef BAD_CREATE_THREAD
  start_thread_and_forget_it();
#endif
#ifdef BAD_CREATE_DESCRIPTOR
  open_file();
#endif
#ifdef BAD_CREATE_HEAP
  lose_memory();
#endif
#ifdef BAD_CREATE_MAPPING
  map_memory();
#endif
  memset(&table, 0, sizeof table);
  table.self = self;
  table.start = start;
  table.on_events = on_events;
  table.drain = DRAIN_FUNCTION;
  table.stop = stop;
  table.destroy = destroy;
  table.get_extension = get_extension;
  table.struct_size = out->struct_size < sizeof table ? out->struct_size : (uint32_t)sizeof table;
  memcpy(out, &table, table.struct_size);
#ifdef BAD_WRITES_BEHIND_OUT
  memset((char*)out + sizeof table, 0, 8);
#endif
  return EPHOR_OK;
}

/* ---- loading -----------------------------------------------------------------------------------
 */

MAYBE_UNUSED static void burn(double seconds) {
  const clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
  while (clock() < end) {
  }
}

MAYBE_UNUSED static void write_file(void) {
  FILE* file = fopen("written_while_loading", "w");
  if (file != NULL) fclose(file);
}

MAYBE_UNUSED static void start_process(void) {
  if (fork() == 0) {
    sleep_long(NULL);
    _exit(0);
  }
}

#if defined(__x86_64__)
MAYBE_UNUSED static void flush_denormals(void) {
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040u);
}
#else
MAYBE_UNUSED static void flush_denormals(void) {}
#endif

#ifdef BAD_LOAD
static void loading(void) __attribute__((constructor));
static void loading(void) { BAD_LOAD; }
#endif

#ifdef BAD_UNDEFINED
extern void nobody_defines_this(void);
#endif

#ifndef REQUIRED_COUNT
#define REQUIRED_COUNT 0
#endif
#ifndef REQUIRED_ID
#define REQUIRED_ID "ephor.query/1"
#endif
#ifndef OPTIONAL_COUNT
#define OPTIONAL_COUNT 1
#endif

__attribute__((visibility("default"))) const ephor_entry* ephor_plugin_entry_v1(void);
const ephor_entry* ephor_plugin_entry_v1(void) {
  static const ephor_view required[] = {TEXT(REQUIRED_ID)};
  static const ephor_view optional[] = {TEXT("ephor.query/1")};
  static const ephor_plugin_info info = {sizeof(ephor_plugin_info),
                                         CAPABILITIES,
                                         TEXT(ID_TEXT),
                                         TEXT(VERSION_TEXT),
                                         TEXT(SUMMARY_TEXT),
                                         TEXT(SCHEMA_TEXT),
                                         required,
                                         optional,
                                         REQUIRED_COUNT,
                                         OPTIONAL_COUNT,
                                         create};
  static const ephor_plugin_info* const infos[] = {&info, &info};
  static const ephor_entry entry = {MAGIC, ENTRY_SIZE, ABI_MAJOR, EPHOR_ABI_MINOR,
                                    0,     INFO_COUNT, infos};
#ifdef BAD_UNDEFINED
  nobody_defines_this();
#endif
#ifdef BAD_ENTRY_NULL
  return NULL;
#elif defined(BAD_ENTRY_CHANGES)
  {
    static ephor_entry copies[2];
    static int calls;
    copies[calls & 1] = entry;
    return &copies[calls++ & 1];
  }
#elif defined(BAD_ENTRY_SHARED)
  {
    /* Through the environment, as a symbol that two libraries share would do. */
    char text[32];
    const char* other = getenv("BAD_ENTRY_OF_THE_FIRST");
    if (other != NULL) return (const ephor_entry*)strtoull(other, NULL, 16);
    snprintf(text, sizeof text, "%llx", (unsigned long long)(size_t)&entry);
    setenv("BAD_ENTRY_OF_THE_FIRST", text, 1);
  }
  return &entry;
#else
  return &entry;
#endif
}

#ifdef BAD_EXPORTS_MORE
__attribute__((visibility("default"))) int exported_by_mistake(void);
int exported_by_mistake(void) { return 1; }
#endif
#ifdef BAD_UNIQUE
__asm__(
    ".data\n.globl unique_by_mistake\n.type unique_by_mistake, @gnu_unique_object\n"
    ".size unique_by_mistake, 8\nunique_by_mistake: .quad 0\n.text\n");
#endif
#ifdef BAD_TEXT_RELOCATION
__asm__(
    ".text\n.p2align 3\n.quad text_relocated_by_mistake\n.data\ntext_relocated_by_mistake: .quad "
    "0\n.text\n");
#endif
#ifdef BAD_WRITABLE_CODE
__asm__(".section .writable_code, \"awx\", @progbits\n.quad 0\n.text\n");
#endif
