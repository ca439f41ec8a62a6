/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin that identity_test.py compiles again and again: counts "ephor.metric" events, keeps the
 * count as its state and answers the query "INSTANCE.probe" {"events", "answer"}.
 *   ANSWER    a number that tells one build from another
 *   VERSION   its version; NOTE_VERSION what the note says
 *   NO_NOTE   leaves the note out
 *   MARK      a file to make when the library is loaded
 *   NOTE_JSON the note, in place of the good one
 *   FAIL_START makes start fail */
#include <ephor/note.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ANSWER
#define ANSWER 1
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef NOTE_VERSION
#define NOTE_VERSION VERSION
#endif
#define ID "probe"
#define SUMMARY "Counts metrics; for tests"
#define SCHEMA "{\"type\":\"object\",\"additionalProperties\":false}"
#define VIEW(text) \
  { text, sizeof(text) - 1 }

#ifdef NOTE_JSON
EPHOR_NOTE_PUT_(1, NOTE_JSON);
#elif !defined(NO_NOTE)
EPHOR_NOTE(ID, NOTE_VERSION, SUMMARY, 0, SCHEMA);
#endif

#ifdef MARK
__attribute__((constructor)) static void leave_a_mark(void) {
  FILE* mark = fopen(MARK, "w");
  if (mark != NULL) fclose(mark);
}
#endif

typedef struct counter {
  uint64_t event_count;
} counter;

static ephor_status on_events(void* self, const ephor_event* events, uint32_t count,
                              ephor_error* error) {
  (void)events, (void)error;
  ((counter*)self)->event_count += count;
  return EPHOR_OK;
}
static ephor_status answer(void* user, ephor_view request, ephor_reply* reply, ephor_error* error) {
  (void)request, (void)error;
  char text[80];
  const int size = snprintf(text, sizeof text, "{\"events\":%" PRIu64 ",\"answer\":%d}",
                            ((counter*)user)->event_count, ANSWER);
  return reply->write(reply->context, (ephor_view){text, (uint64_t)size});
}
static ephor_status nothing(void* self, ephor_error* error) {
  (void)self, (void)error;
#ifdef FAIL_START
  error->code = EPHOR_STATE;
  snprintf(error->message, sizeof error->message, "this build does not start");
  return EPHOR_STATE;
#else
  return EPHOR_OK;
#endif
}
static ephor_status stop(void* self, ephor_error* error) {
  (void)self, (void)error;
  return EPHOR_OK;
}
static ephor_status drain(void* self, int64_t deadline_ns, ephor_error* error) {
  (void)deadline_ns;
  return stop(self, error);
}
static ephor_status save(void* self, const ephor_rows* rows, ephor_writer* state,
                         ephor_error* error) {
  (void)rows, (void)error;
  return state->write(state->context, (ephor_view){(const char*)self, sizeof(counter)});
}
static ephor_status load(void* self, uint32_t version, ephor_view state, ephor_error* error) {
  (void)error;
  if (version != 1 || state.size != sizeof(counter)) return EPHOR_UNSUPPORTED;
  memcpy(self, state.data, sizeof(counter));
  return EPHOR_OK;
}
static const void* get_extension(void* self, ephor_view id) {
  static const ephor_checkpoint checkpoint = {sizeof checkpoint, 1, save, load};
  const char* const storage = "ephor.storage/1";
  (void)self;
  return id.size == strlen(storage) && memcmp(id.data, storage, id.size) == 0 ? &checkpoint : NULL;
}

static ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                           ephor_plugin* out, ephor_error* error) {
  (void)config;
  const ephor_view metrics = VIEW("ephor.metric"), summary = VIEW(SUMMARY), none = {NULL, 0};
  const ephor_subscription subscription = {
      sizeof subscription, EPHOR_POLICY_REPLAY, &metrics, 1, 0, none};
  const ephor_query* query = host->get_extension(host->context, (ephor_view)VIEW("ephor.query/1"));
  counter* self = calloc(1, sizeof *self);
  const ephor_plugin table = {sizeof table, 0,    self, nothing,      on_events,
                              drain,        stop, free, get_extension};
  char name[64];
  const int size = snprintf(name, sizeof name, "%.*s.probe", (int)instance.size, instance.data);
  ephor_status status = host->subscribe(host->context, &subscription, error);
  if (status == EPHOR_OK) {
    status = query->provide(query->context, (ephor_view){name, (uint64_t)size}, summary, answer,
                            self, error);
  }
  if (status == EPHOR_OK)
    *out = table;
  else
    free(self);
  return status;
}

static const ephor_plugin_info info = {
    sizeof info, 0, VIEW(ID), VIEW(VERSION), VIEW(SUMMARY), VIEW(SCHEMA), NULL, NULL, 0, 0, create};
static const ephor_plugin_info* const infos[] = {&info};
static const ephor_entry entry = {
    EPHOR_ENTRY_MAGIC, sizeof entry, EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, 0, 1, infos};

__attribute__((visibility("default"))) const ephor_entry* ephor_plugin_entry_v1(void) {
  return &entry;
}
