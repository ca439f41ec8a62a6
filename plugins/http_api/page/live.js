// SPDX-License-Identifier: Apache-2.0
// One WebSocket: answers of watched routes and events by topic. Where watching is switched off or
// the socket is down, the routes are polled.
const POLL_MS = 2000;

export class Live {
  // on: {state(words, className), event(message), dropped(count), failure(message), answer(path, status, body, asOf)}
  constructor(on) {
    this.on = on;
    this.token = sessionStorage.getItem('ephor-token') || '';
    this.paths = [];
    this.topics = [];
    this.isWatching = false;
    this.retry = 1;
  }

  useToken(token) {
    this.token = token;
    sessionStorage.setItem('ephor-token', token);
    if (this.socket) this.socket.close();
    this.poll(true);
  }

  async ask(path) {
    const headers = this.token ? {Authorization: 'Bearer ' + this.token} : {};
    const answer = await fetch(path, {headers, cache: 'no-store'});
    const body = await answer.json().catch(() => null);
    return {status: answer.status, body, asOf: answer.headers.get('Ephor-As-Of-Sequence')};
  }

  start(paths, topics) {
    this.paths = paths;
    this.topics = topics;
    this.connect();
    this.poll(true);
    setInterval(() => { if (!this.isWatching && !document.hidden) this.poll(false); }, POLL_MS);
  }

  async poll(isFirst) {
    for (const path of this.paths) {
      if (this.isWatching && !isFirst) return;
      try {
        const answer = await this.ask(path);
        this.on.answer(path, answer.status, answer.body, answer.asOf);
      } catch (failure) {
        return;
      }
    }
  }

  subscribe(topics) {
    const gone = this.topics.filter((topic) => !topics.includes(topic));
    this.topics = topics;
    if (gone.length) this.say({unsubscribe: gone});
    if (topics.length) this.say({subscribe: topics, id: 'topics'});
  }

  say(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss://' : 'ws://';
    const token = this.token ? '?access_token=' + encodeURIComponent(this.token) : '';
    this.socket = new WebSocket(scheme + location.host + '/ws' + token);
    this.socket.onopen = () => {
      this.retry = 1;
      this.on.state('Live', 'good');
      this.say({watch: this.paths, id: 'watch'});
      if (this.topics.length) this.say({subscribe: this.topics, id: 'topics'});
    };
    this.socket.onmessage = (frame) => this.take(JSON.parse(frame.data));
    this.socket.onclose = () => {
      this.isWatching = false;
      this.on.state(`Not connected, trying again in ${this.retry} s`, 'bad');
      setTimeout(() => this.connect(), this.retry * 1000);
      this.retry = Math.min(this.retry * 2, 15);
    };
  }

  take(message) {
    if (message.type === 'snapshot') return this.on.answer(message.watch, message.status, message.body, message.as_of_sequence);
    if (message.type === 'event') return this.on.event(message);
    if (message.type === 'dropped') return this.on.dropped(message.count);
    if (message.type === 'watching') this.isWatching = true;
    if (message.type === 'error' && message.id !== 'watch') this.on.failure(message.message);
  }
}
