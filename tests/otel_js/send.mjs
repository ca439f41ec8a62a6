// SPDX-License-Identifier: Apache-2.0
//
// send.mjs URL proto|json none|gzip COUNT SEED: sends COUNT traces with OpenTelemetry's own SDK and
// exporter, and prints what it put into them, span by span, as one JSON array. The truth is written down
// from the calls made here, not from what the SDK holds.
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const [url, form, compression, countText, seedText] = process.argv.slice(2);
const count = Number(countText);
let state = Number(seedText) >>> 0;
function random(limit) { // xorshift: the same traces for the same seed
  state ^= state << 13; state >>>= 0;
  state ^= state >>> 17;
  state ^= state << 5; state >>>= 0;
  return state % limit;
}

const Exporter = form === 'proto' ? ProtoExporter : JsonExporter;
const exporter = new Exporter({ url: `${url}/v1/traces`, compression });
const failures = [];
const watched = {
  export(spans, done) {
    exporter.export(spans, (result) => {
      if (result.code !== 0) failures.push(String(result.error));
      done(result);
    });
  },
  shutdown: () => exporter.shutdown(),
  forceFlush: () => exporter.forceFlush?.(),
};

const KINDS = ['internal', 'server', 'client', 'producer', 'consumer'];
const services = ['bot', 'exchange-gateway', 'modèle-ä'].map((name, at) => {
  const resource = { 'service.name': name, 'service.version': `1.${at}`, 'host.cpus': 2 + at, 'live': at === 1 };
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes(resource),
    spanProcessors: [new BatchSpanProcessor(watched, { maxQueueSize: 1 << 20, scheduledDelayMillis: 50 })],
  });
  return { name, resource, provider };
});

const ATTRIBUTES = [
  ['text', () => `value ${random(1000)}`], ['empty', () => ''], ['unicode', () => '€ 📈 "quoted"\n\\ \u0001'],
  ['integer', () => random(1 << 30)], ['negative', () => -1 - random(1000)], ['zero', () => 0],
  ['large', () => Number.MAX_SAFE_INTEGER], ['number', () => random(1000) + 0.25], ['tiny', () => 1e-300],
  ['true', () => true], ['false', () => false],
  ['texts', () => ['a', '', 'ä']], ['integers', () => [1, -2, 3]], ['numbers', () => [0.5, -1.25]],
  ['booleans', () => [true, false]], ['none', () => []],
  ['decision.id', () => `dec-${random(50)}`], ['http.response.status_code', () => 200 + random(300)],
];
function attributes(share) {
  const out = {};
  for (const [name, make] of ATTRIBUTES) if (random(100) < share) out[name] = make();
  return out;
}

// Nanoseconds since 1970 as text, and as the SDK takes them.
const base = BigInt(Date.now() - 60_000) * 1_000_000n;
const time = (ns) => [Number(ns / 1_000_000_000n), Number(ns % 1_000_000_000n)];

const truth = [];
let previous = []; // of the last trace: what links point to
for (let number = 0; number < count; ++number) {
  const spans = [];
  const size = 1 + random(20);
  for (let i = 0; i < size; ++i) {
    const service = services[random(services.length)];
    const scope = { name: `scope${random(2)}`, version: random(2) ? '0.1.0' : '' };
    const tracer = service.provider.getTracer(scope.name, scope.version || undefined);
    const parent = i === 0 ? null : spans[random(i)];
    const start = base + BigInt(number) * 1_000_003n + BigInt(random(900_000));
    const end = start + BigInt(random(5_000_000));
    const kind = random(5);
    const expected = {
      service: service.name, resource: service.resource, scope, name: `operation ${random(8)}`,
      kind: KINDS[kind], start_ns: String(start), end_ns: String(end), attributes: attributes(40), events: [], links: [],
      status: 'unset', message: '',
    };
    for (const target of previous) {
      if (random(4) === 0) expected.links.push({ ...target, attributes: attributes(10) });
    }
    const span = tracer.startSpan(expected.name, {
      kind: [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER][kind],
      startTime: time(start), attributes: expected.attributes, root: parent === null,
      links: expected.links.map((link) => ({
        context: { traceId: link.trace_id, spanId: link.span_id, traceFlags: 1 }, attributes: link.attributes,
      })),
    }, parent ? trace.setSpan(context.active(), parent.span) : context.active());
    for (let event = random(3); event > 0; --event) {
      const at = start + BigInt(random(1000));
      const one = { name: `event ${random(5)}`, time_ns: String(at), attributes: attributes(15) };
      span.addEvent(one.name, one.attributes, time(at));
      expected.events.push(one);
    }
    if (random(4) === 0) {
      const error = new RangeError(`limit ${random(10)} reached`);
      const at = start + 2000n;
      span.recordException(error, time(at));
      expected.events.push({
        name: 'exception', time_ns: String(at),
        attributes: { 'exception.type': 'RangeError', 'exception.message': error.message, 'exception.stacktrace': error.stack },
      });
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      expected.status = 'error';
      expected.message = error.message;
    } else if (random(3) === 0) {
      span.setStatus({ code: SpanStatusCode.OK });
      expected.status = 'ok';
    }
    span.end(time(end));
    const { traceId, spanId } = span.spanContext();
    Object.assign(expected, { trace_id: traceId, span_id: spanId, parent_id: parent ? parent.span_id : '' });
    spans.push({ span, span_id: spanId });
    truth.push(expected);
  }
  previous = spans.slice(0, 3).map(({ span }) => ({
    trace_id: span.spanContext().traceId, span_id: span.spanContext().spanId,
  }));
}
for (const { provider } of services) {
  await provider.forceFlush();
  await provider.shutdown();
}
if (failures.length > 0) {
  console.error(`${failures.length} exports failed: ${failures[0]}`);
  process.exit(1);
}
console.log(JSON.stringify(truth));
