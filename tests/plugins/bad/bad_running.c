/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin with events, queries, state, a task and a late answer that passes every check of
 * threads, events, queries, state, host_failures and skew, and with one BAD_... macro set a plugin
 * that breaks one thing. tests/e2e/plugin_check_running_test.py compiles it once per check.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ephor/abi.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAYBE_UNUSED __attribute__((unused))
#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }
/* True only in the plugin whose defect has this name. */
#define IS_BAD(name) (DEFECT[0] != 0 && strcmp(DEFECT, name) == 0)
#ifndef DEFECT
#define DEFECT ""
#endif
#ifndef PLUGIN_ID
#define PLUGIN_ID "running"
#endif

typedef struct saved_state {
  char magic[8];
  uint64_t count;
  uint64_t check; /* of count */
} saved_state;

typedef struct running {
  const ephor_host* host;
  const ephor_task* task;
  pthread_mutex_t mutex; /* guards count; queries overlap */
  pid_t maker;           /* the thread that called create */
  uint64_t count;
  uint64_t since_load, saves, last_sequence;
  int64_t last_time_ns;
  int is_dirty, has_thread;
  const char* kept;
} running;

static ephor_status failed(ephor_error* error, ephor_status code, const char* message) {
  error->code = code;
  snprintf(error->message, sizeof error->message, "%s", message);
  error->json_pointer[0] = '\0';
  if (IS_BAD("skew/padded_errors")) memset((char*)error + sizeof *error, 0, 8);
  return code;
}

static ephor_view view_of(const char* text) {
  ephor_view view = {text, strlen(text)};
  return view;
}

static int contains(ephor_view text, const char* wanted) {
  return text.size > 0 && memmem(text.data, text.size, wanted, strlen(wanted)) != NULL;
}

static int is_text(ephor_view view, const char* text) {
  return view.size == strlen(text) && memcmp(view.data, text, view.size) == 0;
}

static const void* extension(running* self, const char* id) {
  return self->host->get_extension(self->host->context, view_of(id));
}

static void lose_memory(void) {
  char* volatile lost = malloc(100);
  if (lost != NULL) lost[0] = 1;
}

/* Ends the process if there is no memory, as a careless program does. */
static void need_memory(void) {
  char* volatile block = malloc(32768);
  if (block == NULL) abort();
  block[0] = 1;
  free(block);
}

static void pause_ms(long milliseconds) {
  struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&pause, NULL);
}

static void* sleep_long(void* unused) {
  (void)unused;
  pause_ms(30000);
  return NULL;
}

static void* log_for_ever(void* object) {
  running* self = object;
  const ephor_log* log = extension(self, "ephor.log/1");
  for (;; pause_ms(20)) log->log(log->context, EPHOR_LOG_INFO, view_of("still here"));
  return NULL;
}

static void start_thread(running* self, void* (*body)(void*)) {
  pthread_t thread;
  if (self->has_thread) return;
  self->has_thread = 1;
  if (pthread_create(&thread, NULL, body, self) == 0) pthread_detach(thread);
}

static void run_long(void* unused) {
  (void)unused;
  pause_ms(7000);
}

/* A failure of the host that a careless plugin does not survive. */
static ephor_status looked_at(ephor_status status, const char* defect) {
  if (status != EPHOR_OK && IS_BAD(defect)) abort();
  if (status > EPHOR_INTERNAL && IS_BAD("skew/unknown_statuses")) abort();
  if (status != EPHOR_OK && IS_BAD("host_failures/random_failures")) abort();
  return status;
}

/* ---- queries --------------------------------------------------------------------------------- */

static uint64_t count_of(running* self) {
  pthread_mutex_lock(&self->mutex);
  if (IS_BAD("queries/reads_disturb_nothing")) ++self->count;
  const uint64_t count = self->count;
  pthread_mutex_unlock(&self->mutex);
  return count;
}

static ephor_status write_answer(running* self, ephor_reply* reply, ephor_error* error) {
  static int asked;
  char text[128];
  const uint64_t count = count_of(self);
  if (IS_BAD("queries/before_the_first_event") && count == 0)
    return failed(error, EPHOR_INTERNAL, "divided by zero");
  if (IS_BAD("queries/reads_succeed")) return failed(error, EPHOR_INTERNAL, "lost");
  if (IS_BAD("queries/repeatable")) ++asked;
  if (IS_BAD("skew/padded_replies") && reply->reserved != 0)
    return failed(error, EPHOR_INVALID, "a reply of another host");
  snprintf(text, sizeof text,
           IS_BAD("queries/answers_are_json")      ? "count: %llu, %d"
           : IS_BAD("queries/answers_fit_schemas") ? "{\"count\":\"%llu\",\"asked\":%d}"
                                                   : "{\"count\":%llu,\"asked\":%d}",
           (unsigned long long)count, asked);
  const ephor_status status =
      looked_at(reply->write(reply->context, view_of(text)), "host_failures/reply_writer_fails");
  return status == EPHOR_OK ? status : failed(error, status, "the answer was not taken");
}

static ephor_status answer_count(void* user, ephor_view request, ephor_reply* reply,
                                 ephor_error* error) {
  static int asking;
  running* self = user;
  if (IS_BAD("threads/concurrent_queries")) {
    if (__atomic_add_fetch(&asking, 1, __ATOMIC_SEQ_CST) > 1) abort();
    pause_ms(5);
    __atomic_sub_fetch(&asking, 1, __ATOMIC_SEQ_CST);
  }
  if (IS_BAD("queries/deadlines")) pause_ms(3000);
  if (IS_BAD("queries/survives_bad_input") && contains(request, "x_unknown")) abort();
  if (IS_BAD("host_failures/no_memory_in_queries")) need_memory();
  return write_answer(self, reply, error);
}

static ephor_status see_row(void* user, const ephor_cell* cells, uint32_t count) {
  (void)cells;
  *(int*)user += (int)count;
  return EPHOR_OK;
}

static ephor_status answer_item(void* user, ephor_view request, ephor_reply* reply,
                                ephor_error* error) {
  running* self = user;
  const ephor_storage* storage = extension(self, "ephor.storage/1");
  int seen = 0;
  if (IS_BAD("queries/hostile_parameters") && contains(request, "'"))
    return failed(error, EPHOR_INTERNAL, "near \"'\": syntax error");
  if (storage != NULL) {
    const ephor_status status = storage->select(storage->context, view_of("SELECT * FROM counts"),
                                                NULL, 0, see_row, &seen, error);
    if (status != EPHOR_OK && IS_BAD("host_failures/select_fails"))
      return reply->write(reply->context, view_of("no database"));
    if (looked_at(status, "") != EPHOR_OK) return status;
  }
  if (!contains(request, "\"d-3\"")) {
    return failed(error, IS_BAD("queries/unknown_ids") ? EPHOR_INTERNAL : EPHOR_NOT_FOUND,
                  "nobody has this id");
  }
  return write_answer(self, reply, error);
}

typedef struct late_answer {
  running* self;
  ephor_reply* reply;
} late_answer;

static void answer_late(void* user) {
  late_answer* late = user;
  ephor_error error;
  memset(&error, 0, sizeof error);
  error.struct_size = sizeof error;
  const ephor_status status = write_answer(late->self, late->reply, &error);
  late->reply->finish(late->reply->context, status, status == EPHOR_OK ? NULL : &error);
  free(late);
}

static ephor_status answer_later(void* user, ephor_view request, ephor_reply* reply,
                                 ephor_error* error) {
  running* self = user;
  late_answer* late;
  (void)request;
  if (IS_BAD("queries/pending_are_finished")) return EPHOR_PENDING;
  if (self->task == NULL) return write_answer(self, reply, error);
  late = malloc(sizeof *late);
  if (late == NULL) return failed(error, EPHOR_FULL, "out of memory");
  late->self = self;
  late->reply = reply;
  const ephor_status status = self->task->run(self->task->context, answer_late, late, error);
  if (status == EPHOR_OK) return EPHOR_PENDING;
  free(late);
  return looked_at(status, "");
}

static ephor_status provide(running* self, const char* name, const char* method_path,
                            ephor_query_handler handler, ephor_error* error) {
  const ephor_query* query = extension(self, "ephor.query/1");
  const ephor_http* http = extension(self, "ephor.http/1");
  ephor_http_route route;
  ephor_status status;
  if (query == NULL)
    return failed(error, EPHOR_UNSUPPORTED,
                  IS_BAD("host_failures/required_absent") ? "something is missing"
                                                          : "this host has no ephor.query/1");
  status = query->provide(query->context, view_of(name), view_of("how many events came"), handler,
                          self, error);
  if (status != EPHOR_OK || http == NULL) return status;
  memset(&route, 0, sizeof route);
  route.struct_size = sizeof route;
  route.method = view_of("GET");
  route.path = view_of(method_path);
  route.query = view_of(name);
  route.scope = view_of("read");
  route.summary = view_of("how many events came");
  route.request_schema = view_of("{\"type\":\"object\"}");
  route.response_schema = view_of(IS_BAD("queries/schemas_are_schemas")
                                      ? "{\"type\":\"objekt\"}"
                                      : "{\"type\":\"object\",\"required\":[\"count\"],"
                                        "\"properties\":{\"count\":{\"type\":\"integer\"}}}");
  return http->add_route(http->context, &route, error);
}

/* ---- the life of an instance ----------------------------------------------------------------- */

static ephor_status start(void* object, ephor_error* error) {
  running* self = object;
  ephor_status status =
      provide(self, PLUGIN_ID ".count", "/api/running/count", answer_count, error);
  if (status == EPHOR_OK)
    status = provide(self, PLUGIN_ID ".item", "/api/running/items/{item}", answer_item, error);
  if (status == EPHOR_OK)
    status = provide(self, PLUGIN_ID ".later", "/api/running/later", answer_later, error);
  if (status == EPHOR_OK && IS_BAD("queries/paths_are_distinct"))
    status = provide(self, PLUGIN_ID ".name", "/api/running/items/{name}", answer_item, error);
  if (IS_BAD("threads/silent_after_stop")) start_thread(self, log_for_ever);
  if (IS_BAD("host_failures/no_memory_in_start")) need_memory();
  return looked_at(status, "");
}

static int nested(ephor_view text, uint64_t at) {
  volatile char frame[256];
  frame[0] = 1;
  if (at >= text.size || (text.data[at] != '[')) return frame[0];
  return nested(text, at + 1) + frame[0];
}

/* What a careless reader of data falls over. */
static void read_data(const ephor_event* event, ephor_view topic) {
  const ephor_view record = {event->record, event->record_length};
  const ephor_view data = {event->record + event->data_offset,
                           event->record_length - event->data_offset};
  if (IS_BAD("events/extreme_times") && event->time_ns < 0) abort();
  if (IS_BAD("events/unknown_topics") && contains(topic, "never_heard_of")) abort();
  if (IS_BAD("events/wrong_types") && contains(data, ":null")) abort();
  if (IS_BAD("events/missing_members") && is_text(data, "{}}")) abort();
  if (IS_BAD("events/unknown_members") && contains(data, "x_from_the_future")) abort();
  if (IS_BAD("events/extreme_values") && data.size > 60000) abort();
  if (IS_BAD("events/deep_nesting")) nested(data, 0);
  if (IS_BAD("events/no_data") && data.size == 0) abort();
  if (IS_BAD("events/invalid_utf8") && contains(data, "\xFF\xFE")) abort();
  if (IS_BAD("events/otlp_bytes") && event->encoding == 1 && record.size < 20) abort();
  if (IS_BAD("events/unknown_encodings") && event->encoding > 1) abort();
  if (event->encoding != 0) return;
  if (IS_BAD("events/truncated_json") && (record.size == 0 || record.data[record.size - 1] != '}'))
    abort();
  for (uint64_t i = 0; IS_BAD("events/random_bytes") && i < data.size; ++i) {
    if ((unsigned char)data.data[i] < 0x20) abort();
  }
}

static ephor_status refuse(running* self, const ephor_event* event, uint32_t count,
                           ephor_view topic, ephor_error* error) {
  const int is_back = event->time_ns < self->last_time_ns;
  const int is_far = self->last_sequence != 0 && event->sequence > self->last_sequence + (1 << 24);
  self->last_time_ns = event->time_ns;
  self->last_sequence = event->sequence;
  if (IS_BAD("threads/any_thread") && self->maker != gettid())
    return failed(error, EPHOR_INTERNAL, "called on another thread");
  if (IS_BAD("events/documented") && is_text(topic, "ephor.metric"))
    return failed(error, EPHOR_INVALID, "no metrics here");
  if (IS_BAD("events/batch_sizes") && count > 128)
    return failed(error, EPHOR_FULL, "more than 128 events");
  if (IS_BAD("events/sequence_gaps") && is_far)
    return failed(error, EPHOR_INTERNAL, "a gap in the log");
  if (IS_BAD("events/time_going_back") && is_back)
    return failed(error, EPHOR_INTERNAL, "time goes back");
  if (IS_BAD("events/flags") && (event->flags & 0x80) != 0)
    return failed(error, EPHOR_INVALID, "an unknown flag");
  if (IS_BAD("events/otlp") && event->encoding == 1)
    return failed(error, EPHOR_INVALID, "found no JSON");
  return EPHOR_OK;
}

static ephor_status publish(running* self, const ephor_event* event, uint32_t count,
                            ephor_error* error) {
  char data[128];
  ephor_draft draft;
  struct timespec now = {0, 0};
  if (IS_BAD("events/is_deterministic")) clock_gettime(CLOCK_MONOTONIC, &now);
  snprintf(data, sizeof data, "{\"count\":%llu,\"slice\":%u,\"now\":%ld}",
           (unsigned long long)self->count, IS_BAD("events/any_slices") ? count : 0U, now.tv_nsec);
  memset(&draft, 0, sizeof draft);
  draft.struct_size = sizeof draft;
  draft.topic = view_of("running.tenth");
  draft.data_json = view_of(data);
  draft.cause_sequence = event->sequence;
  const ephor_status status = self->host->publish(self->host->context, &draft, 1, error);
  return looked_at(status, status == EPHOR_FULL ? "host_failures/publish_full"
                                                : "host_failures/each_call_in_running");
}

static ephor_status on_events(void* object, const ephor_event* events, uint32_t count,
                              ephor_error* error) {
  static int busy;
  running* self = object;
  ephor_status status = EPHOR_OK;
  if (IS_BAD("threads/instances_in_parallel")) {
    if (__atomic_exchange_n(&busy, 1, __ATOMIC_SEQ_CST) != 0)
      return failed(error, EPHOR_INTERNAL, "another instance is busy");
    pause_ms(5);
    __atomic_store_n(&busy, 0, __ATOMIC_SEQ_CST);
  }
  if (IS_BAD("threads/traffic_leaves_no_thread")) start_thread(self, sleep_long);
  if (IS_BAD("threads/tasks_end") && self->count == 0)
    self->task->run(self->task->context, run_long, NULL, error);
  if (IS_BAD("host_failures/no_memory_in_events")) need_memory();
  for (uint32_t i = 0; i < count && status == EPHOR_OK; ++i) {
    const ephor_event* event = &events[i];
    const ephor_view topic = self->host->topic_name(self->host->context, event->topic);
    status = refuse(self, event, count, topic, error);
    if (status != EPHOR_OK) return status;
    read_data(event, topic);
    if (IS_BAD("events/copies_what_it_keeps")) {
      if (self->kept != NULL && *(volatile const char*)self->kept == '\0') abort();
      self->kept = event->record;
    }
    if (IS_BAD("events/soak")) lose_memory();
    pthread_mutex_lock(&self->mutex);
    ++self->count;
    pthread_mutex_unlock(&self->mutex);
    ++self->since_load;
    self->is_dirty = 1;
    if (IS_BAD("events/no_endless_derivation") ||
        (IS_BAD("state/goes_on_after_a_crash") ? self->since_load : self->count) % 10 == 0) {
      status = publish(self, event, count, error);
    }
  }
  return status;
}

static ephor_status drain(void* object, int64_t deadline_ns, ephor_error* error) {
  (void)object;
  (void)deadline_ns;
  (void)error;
  return EPHOR_OK;
}

static ephor_status stop(void* object, ephor_error* error) {
  (void)object;
  (void)error;
  return EPHOR_OK;
}

static void destroy(void* object) {
  running* self = object;
  pthread_mutex_destroy(&self->mutex);
  free(self);
}

/* ---- state ------------------------------------------------------------------------------------
 */

static saved_state state_of(uint64_t count) {
  saved_state out = {{'r', 'u', 'n', 'n', 'i', 'n', 'g', '1'}, count, 0};
  out.check = ~(count * 0x9E3779B97F4A7C15u);
  return out;
}

static ephor_status write_rows(running* self, const ephor_rows* rows, ephor_error* error) {
  ephor_cell cells[2];
  ephor_status status;
  memset(cells, 0, sizeof cells);
  cells[0].kind = EPHOR_CELL_TEXT;
  cells[0].bytes = view_of("gone");
  cells[1].kind =
      IS_BAD("state/rows_fit") && self->count > 1000 ? EPHOR_CELL_TEXT : EPHOR_CELL_INTEGER;
  cells[1].integer = (int64_t)self->count;
  status = rows->upsert(rows->context, view_of("counts"), cells, 2, error);
  if (status == EPHOR_OK) status = rows->erase(rows->context, view_of("counts"), cells, 1, error);
  if (status != EPHOR_OK) return looked_at(status, "");
  cells[0].bytes = view_of("all");
  return looked_at(rows->upsert(rows->context, view_of("counts"), cells, 2, error), "");
}

static ephor_status save(void* object, const ephor_rows* rows, ephor_writer* out,
                         ephor_error* error) {
  running* self = object;
  ephor_status status = EPHOR_OK;
  saved_state state;
  ephor_view bytes = {(const char*)&state, sizeof state};
  if (IS_BAD("skew/padded_saves") && rows->reserved != 0)
    return failed(error, EPHOR_INVALID, "rows of another host");
  if (IS_BAD("host_failures/no_memory_in_save")) need_memory();
  if (IS_BAD("threads/tags_under_traffic")) {
    const ephor_event none = {0};
    (void)publish(self, &none, 0, error);
  }
  if (IS_BAD("events/saves_disturb_nothing")) ++self->count;
  ++self->saves;
  if (self->is_dirty) {
    status = write_rows(self, rows, error);
    if (IS_BAD("host_failures/save_tells")) status = EPHOR_OK;
  }
  if (status != EPHOR_OK) return status;
  state = state_of(self->count);
  if (IS_BAD("state/save_twice")) state.check += self->saves;
  if (IS_BAD("state/fresh_state") && self->count == 0) bytes.size = 0;
  status = out->write(out->context, bytes);
  for (uint64_t i = 0; IS_BAD("state/stays_bounded") && i < 5 * self->count; ++i)
    status = out->write(out->context, bytes);
  if (IS_BAD("host_failures/state_writer_fails")) status = EPHOR_OK;
  if (looked_at(status, "") != EPHOR_OK) return failed(error, status, "the state was not taken");
  self->is_dirty = 0;
  return EPHOR_OK;
}

static ephor_status load(void* object, uint32_t version, ephor_view bytes, ephor_error* error) {
  running* self = object;
  saved_state state;
  saved_state expected;
  if (IS_BAD("host_failures/no_memory_in_load")) need_memory();
  if (version != 1 && !IS_BAD("state/other_versions"))
    return failed(error, EPHOR_UNSUPPORTED, "found a state of another version, expected 1");
  if (bytes.size != sizeof state) {
    if (IS_BAD("state/random_state") || IS_BAD("state/truncated_state")) abort();
    if (IS_BAD("state/failed_load_leaks_nothing")) lose_memory();
    return failed(error, EPHOR_UNSUPPORTED, "found a state of another size, expected 24 bytes");
  }
  memcpy(&state, bytes.data, sizeof state);
  expected = state_of(state.count);
  if (memcmp(&state, &expected, sizeof state) != 0) {
    if (IS_BAD("state/flipped_state")) abort();
    return failed(error, EPHOR_UNSUPPORTED, "found a damaged state");
  }
  self->count = IS_BAD("state/round_trip") ? 0 : state.count;
  return EPHOR_OK;
}

static const void* get_extension(void* object, ephor_view id) {
  static const ephor_checkpoint checkpoint = {sizeof(ephor_checkpoint), 1, save, load};
  (void)object;
  return is_text(id, "ephor.storage/1") ? &checkpoint : NULL;
}

/* ---- create -----------------------------------------------------------------------------------
 */

static ephor_status find_unknown_mode(void* context, ephor_view bytes) {
  if (contains(bytes, "rehearsal")) *(int*)context = 1;
  return EPHOR_OK;
}

static ephor_status subscribe(running* self, ephor_error* error) {
  const ephor_view patterns[] = {TEXT("ephor.tick"), TEXT("ephor.metric"), TEXT("ephor.span"),
                                 TEXT("running.>")};
  ephor_subscription wanted;
  memset(&wanted, 0, sizeof wanted);
  wanted.struct_size = sizeof wanted;
  wanted.policy = EPHOR_POLICY_REPLAY;
  wanted.patterns = patterns;
  wanted.pattern_count = IS_BAD("events/no_endless_derivation") ? 4 : 3;
  return looked_at(self->host->subscribe(self->host->context, &wanted, error),
                   "host_failures/each_call_in_create");
}

static ephor_status look_at_host(running* self, ephor_error* error) {
  const ephor_health* health = extension(self, "ephor.health/1");
  const ephor_host* host = self->host;
  if (IS_BAD("skew/newer_host") && host->struct_size != sizeof *host)
    return failed(error, EPHOR_UNSUPPORTED, "a host of another size");
  if (IS_BAD("skew/oldest_host") && host->abi_minor < 1)
    return failed(error, EPHOR_UNSUPPORTED, "a host that is too old");
  if (IS_BAD("skew/reads_within_tables") && ((volatile const char*)host)[sizeof *host] == 7)
    return failed(error, EPHOR_UNSUPPORTED, "never reached");
  if (IS_BAD("host_failures/optional_absent") && extension(self, "ephor.log/1") == NULL)
    return failed(error, EPHOR_UNSUPPORTED, "this host has no log");
  if (IS_BAD("host_failures/any_absent") && extension(self, "ephor.metrics/1") == NULL) abort();
  if (IS_BAD("skew/unknown_mode")) {
    int is_unknown = 0;
    ephor_writer writer = {sizeof writer, 0, &is_unknown, find_unknown_mode};
    if (health != NULL && health->snapshot(health->context, &writer, error) == EPHOR_OK &&
        is_unknown)
      return failed(error, EPHOR_UNSUPPORTED, "an unknown mode");
  }
  return EPHOR_OK;
}

static ephor_status prepare(running* self, ephor_error* error) {
  static const char tables[] =
      "{\"version\":1,\"tables\":[{\"name\":\"counts\",\"key\":[\"id\"],\"columns\":["
      "{\"name\":\"id\",\"type\":\"text\"},{\"name\":\"count\",\"type\":\"integer\"}]}]}";
  const ephor_storage* storage = extension(self, "ephor.storage/1");
  ephor_status status = look_at_host(self, error);
  if (status == EPHOR_OK) status = subscribe(self, error);
  if (status == EPHOR_OK && storage != NULL)
    status = looked_at(storage->declare(storage->context, view_of(tables), error), "");
  return status;
}

static ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                           ephor_plugin* out, ephor_error* error) {
  ephor_plugin table;
  ephor_status status;
  running* self;
  (void)instance;
  if (config.size < 2 || config.data[0] != '{')
    return failed(error, EPHOR_INVALID, "config: found no object, expected one");
  if (IS_BAD("host_failures/no_memory_in_create")) need_memory();
  self = calloc(1, sizeof *self);
  if (self == NULL) return failed(error, EPHOR_FULL, "out of memory");
  self->host = host;
  self->task = extension(self, "ephor.task/1");
  self->maker = gettid();
  self->is_dirty = 1;
  pthread_mutex_init(&self->mutex, NULL);
  status = prepare(self, error);
  if (status != EPHOR_OK) {
    if (!IS_BAD("host_failures/failed_create_leaks_nothing")) destroy(self);
    return status;
  }
  memset(&table, 0, sizeof table);
  table.self = self;
  table.start = start;
  table.on_events = on_events;
  table.drain = drain;
  table.stop = stop;
  table.destroy = destroy;
  table.get_extension = get_extension;
  table.struct_size = out->struct_size < sizeof table ? out->struct_size : (uint32_t)sizeof table;
  if (IS_BAD("skew/larger_out")) {
    const uint32_t room = out->struct_size;
    memcpy(out, &table, sizeof table);
    out->struct_size = room;
    return EPHOR_OK;
  }
  memcpy(out, &table, table.struct_size);
  return EPHOR_OK;
}

__attribute__((visibility("default"))) const ephor_entry* ephor_plugin_entry_v1(void);
const ephor_entry* ephor_plugin_entry_v1(void) {
  static const ephor_view required[] = {TEXT("ephor.query/1")};
  static const ephor_view optional[] = {TEXT("ephor.http/1"),    TEXT("ephor.log/1"),
                                        TEXT("ephor.storage/1"), TEXT("ephor.task/1"),
                                        TEXT("ephor.metrics/1"), TEXT("ephor.health/1")};
  static const ephor_plugin_info info = {sizeof(ephor_plugin_info),
                                         EPHOR_CAP_CONCURRENT_QUERY,
                                         TEXT(PLUGIN_ID),
                                         TEXT("1.2.3"),
                                         TEXT("Counts events, and breaks one rule if asked to."),
                                         TEXT("{\"type\":\"object\","
                                              "\"additionalProperties\":false,\"properties\":{}}"),
                                         required,
                                         optional,
                                         1,
                                         6,
                                         create};
  static const ephor_plugin_info* const infos[] = {&info};
  static const ephor_entry entry = {
      EPHOR_ENTRY_MAGIC, sizeof(ephor_entry), EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, 0, 1, infos};
  return &entry;
}
