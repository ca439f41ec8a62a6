/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts all events; the query "minimal_c.count" and its route tell how many. Plain C11. */
#include <ephor/note.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ID "minimal_c"
#define VERSION "0.1.0"
#define SUMMARY "Counts events"
#define SCHEMA "{\"type\":\"object\",\"additionalProperties\":false}"
#define VIEW(text) \
  { text, sizeof(text) - 1 }

typedef struct counter {
  uint64_t event_count;
} counter;

static ephor_status on_events(void* self, const ephor_event* events, uint32_t count,
                              ephor_error* error) {
  (void)events, (void)error;
  ((counter*)self)->event_count += count; /* the host serialises: no lock */
  return EPHOR_OK;
}

static ephor_status answer(void* user, ephor_view request, ephor_reply* reply, ephor_error* error) {
  (void)request, (void)error;
  char text[48];
  const int size =
      snprintf(text, sizeof text, "{\"events\":%" PRIu64 "}", ((counter*)user)->event_count);
  return reply->write(reply->context, (ephor_view){text, (uint64_t)size});
}

static ephor_status nothing(void* self, ephor_error* error) {
  (void)self, (void)error;
  return EPHOR_OK;
}
static ephor_status drain(void* self, int64_t deadline_ns, ephor_error* error) {
  (void)deadline_ns;
  return nothing(self, error);
}
static const void* get_extension(void* self, ephor_view id) {
  (void)self, (void)id;
  return NULL;
}

static ephor_status attach(const ephor_host* host, counter* self, ephor_error* error) {
  const ephor_view everything = VIEW(">"), name = VIEW("minimal_c.count");
  const ephor_view summary = VIEW("How many events came by"), none = {NULL, 0};
  const ephor_subscription subscription = {
      sizeof subscription, EPHOR_POLICY_REPLAY, &everything, 1, 0, none};
  const ephor_query* query = host->get_extension(host->context, (ephor_view)VIEW("ephor.query/1"));
  const ephor_http* http = host->get_extension(host->context, (ephor_view)VIEW("ephor.http/1"));
  ephor_status status = host->subscribe(host->context, &subscription, error);
  if (status == EPHOR_OK && query != NULL) {
    status = query->provide(query->context, name, summary, answer, self, error);
  }
  if (status == EPHOR_OK && query != NULL && http != NULL) {
    const ephor_http_route route = {
        sizeof route, 0,    VIEW("GET"), VIEW("/api/example/count"), name, VIEW("read"), summary,
        none,         none, none};
    status = http->add_route(http->context, &route, error);
  }
  return status;
}

static ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                           ephor_plugin* out, ephor_error* error) {
  (void)instance, (void)config;
  counter* self = calloc(1, sizeof *self);
  const ephor_plugin table = {sizeof table, 0,       self, nothing,      on_events,
                              drain,        nothing, free, get_extension};
  if (self == NULL || out->struct_size < sizeof table) {
    free(self);
    return self == NULL ? EPHOR_FULL : EPHOR_UNSUPPORTED;
  }
  const ephor_status status = attach(host, self, error);
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

EPHOR_NOTE(ID, VERSION, SUMMARY, 0, SCHEMA); /* read by `ephor plugin list`, which runs no code */

__attribute__((visibility("default"))) const ephor_entry* ephor_plugin_entry_v1(void) {
  return &entry;
}
