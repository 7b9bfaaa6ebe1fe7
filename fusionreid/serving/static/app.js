'use strict';

// Everything that the server says becomes text, never markup.

const DEFAULT_RATE = 0.001;
const RETRIES = 5;
const PEOPLE = 24;

const byId = (id) => document.getElementById(id);
const state = {
  gallery: null,
  queries: [], // {name, file or item, url, camera, result, error}
  current: -1,
  cameras: new Set(), // none: all
  asking: null,
  peopleShown: 0,
  peopleAsked: false,
};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'onclick') element.addEventListener('click', value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function picture(name, shapes) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 48 48');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', name);
  for (const shape of shapes) {
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', shape);
    svg.append(path);
  }
  return svg;
}

const whole = (number) => number.toLocaleString('en-US');
const plural = (count, one, many) => `${whole(count)} ${count === 1 ? one : many}`;
const near = (distance) => distance.toFixed(distance < 0.1 ? 4 : 3);

function percent(rate) {
  const value = 100 * rate;
  return value >= 10 ? `${Math.round(value)}%` : `${Number(value.toPrecision(2))}%`;
}

const oneIn = (rate) => `1 in ${whole(Math.round(1 / rate))}`;

// Seconds of a video as hh:mm:ss.
function clock(seconds) {
  const whole = Math.floor(seconds);
  return [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
    .map((part) => `${part}`.padStart(2, '0')).join(':');
}

// hh:mm:ss, mm:ss or seconds; null where there is none, NaN where it is none.
function secondsOf(text) {
  if (!text.trim()) return null;
  return /^[0-9]+(:[0-9]{1,2}){0,2}([.][0-9]+)?$/.test(text.trim())
    ? text.trim().split(':').reduce((total, part) => 60 * total + Number(part), 0) : NaN;
}

function cameraName(camera) {
  if (camera === '0') return 'unknown camera';
  return /^[0-9]+$/.test(camera) ? `camera ${camera}` : camera;
}

function megabytes(bytes) {
  return bytes >= 1 << 20 ? `${Number((bytes / (1 << 20)).toPrecision(3))} MB` : `${whole(bytes)} bytes`;
}

// ---- asking the server

class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Refused(0, 'The server does not answer. Is it still running?');
    }
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    if (answer.status === 503 && attempt < RETRIES) {
      const seconds = Number(answer.headers.get('Retry-After')) || 1;
      await new Promise((done) => setTimeout(done, 1000 * Math.min(seconds, 10)));
      continue;
    }
    let reason = `The server answers with status ${answer.status}.`;
    try {
      const { detail } = await answer.json();
      if (typeof detail === 'string') reason = detail;
    } catch { /* no JSON: the status says all */ }
    throw new Refused(answer.status, reason);
  }
}

function formFor(query) {
  const form = new FormData();
  if (query.file) {
    form.append('images', query.file, query.name);
    const camera = byId('query-camera').value;
    if (camera !== '0') form.append('query_camera', camera);
  } else {
    form.append('items', query.item);
  }
  return form;
}

// ---- the photos that are searched for

function showError(reason) {
  byId('error').textContent = reason;
  byId('error').hidden = !reason;
}

function whyNot(file) {
  const { image_bytes: most } = state.gallery.limits;
  if (file.size > most) return `${file.name} has ${megabytes(file.size)}, ${megabytes(most)} are allowed.`;
  if (file.size === 0) return `${file.name} is empty.`;
  return '';
}

function takeFiles(files) {
  const given = [...files];
  if (!given.length) return;
  const most = state.gallery.limits.images;
  const problems = [];
  if (given.length > most) problems.push(`${most} photos at once are allowed, the others are left out.`);
  const taken = [];
  for (const file of given.slice(0, most)) {
    const problem = whyNot(file);
    if (problem) problems.push(problem);
    else taken.push({ name: file.name || 'photo', file, url: URL.createObjectURL(file) });
  }
  showError(problems.join(' '));
  if (taken.length) start(taken);
}

function takeItem(item) {
  showError('');
  show('search');
  window.scrollTo({ top: 0 });
  start([{ name: item.name, item: item.item, url: item.image, camera: item.camera }]);
}

function start(queries) {
  for (const query of state.queries) if (query.file) URL.revokeObjectURL(query.url);
  state.queries = queries;
  state.current = 0;
  const camera = queries[0].camera;
  byId('query-camera').value = camera ?? '0';
  byId('query-camera').disabled = camera !== undefined;
  // Where the answers are below the panel, they would not be seen.
  if (matchMedia('(max-width: 860px)').matches) byId('results').scrollIntoView({ behavior: 'smooth' });
  search();
}

async function search() {
  state.asking?.abort();
  const { gallery, queries } = state;
  const asking = new AbortController();
  state.asking = asking;
  const unknown = byId('query-camera').value === '0';
  byId('other-cameras').disabled = unknown;
  if (unknown) byId('other-cameras').checked = false;
  if (!queries.length) {
    render();
    return;
  }
  byId('results').setAttribute('aria-busy', 'true');
  renderQueries();
  for (const query of queries) {
    const form = formFor(query);
    form.append('k', Math.min(30, gallery.limits.answers));
    for (const camera of state.cameras) form.append('camera', camera);
    if (byId('other-cameras').checked) form.append('other_cameras', 'true');
    for (const side of ['from', 'to']) {
      const seconds = secondsOf(byId(`${side}-time`).value);
      byId(`${side}-time`).setAttribute('aria-invalid', `${Number.isNaN(seconds)}`);
      if (seconds !== null && !Number.isNaN(seconds)) form.append(`${side}_second`, seconds);
    }
    try {
      const answer = await ask('/api/search', { method: 'POST', body: form, signal: asking.signal });
      [query.result] = answer.queries;
      query.error = '';
    } catch (error) {
      if (error.name === 'AbortError') return;
      query.result = null;
      query.error = error.message;
    }
    if (asking.signal.aborted) return;
    render();
  }
  byId('results').setAttribute('aria-busy', 'false');
}

// ---- the line between somebody and nobody

function setUpLine() {
  const { stops } = state.gallery;
  const line = byId('line');
  if (stops.length) {
    line.max = stops.length;
    const wanted = stops.findLastIndex((stop) => stop.rate <= DEFAULT_RATE * 1.0001);
    line.value = wanted < 0 ? 0 : wanted;
  } else {
    line.max = 400;
    line.value = 400;
  }
}

// Whether an answer is near enough, and how the line is described.
function currentLine() {
  const { stops } = state.gallery;
  const value = Number(byId('line').value);
  if (stops.length) {
    if (value >= stops.length) return { accepts: () => true, stop: null, distance: null };
    const stop = stops[value];
    return {
      accepts: (answer) => answer.stop !== null && answer.stop <= value,
      stop,
      distance: stop.distance,
    };
  }
  // Finer where distances are small.
  const distance = 2 * (value / 400) ** 2;
  if (value >= 400) return { accepts: () => true, stop: null, distance: null };
  return { accepts: (answer) => answer.distance < distance, stop: null, distance };
}

// Whether the two cameras have a line of their own.
function ownLines() {
  return state.gallery.camera_lines && byId('query-camera').value !== '0';
}

// Where the line is, in a word or two.
function linePlace() {
  const { stop, distance } = currentLine();
  if (stop && (ownLines() || distance === null)) return `at ${oneIn(stop.rate)}`;
  return distance === null ? '' : `at ${near(distance)}`;
}

function renderLine() {
  const { stops } = state.gallery;
  const { stop, distance } = currentLine();
  const text = byId('line-text');
  if (stop) {
    const [low, high] = stop.search_rate_95;
    text.replaceChildren(
      make('strong', {}, `${oneIn(stop.rate)} pairs of strangers`),
      make('span', {}, distance === null ? 'is as near' : `is nearer than ${near(distance)}${ownLines() ? ' (by the two cameras more or less)' : ''}, the line`),
      make('span', {}, `A search for somebody who is not there finds somebody in `
        + `${percent(stop.search_rate)} of the cases (95%: ${percent(low)} to ${percent(high)}).`),
    );
  } else if (distance !== null) {
    text.replaceChildren(
      make('strong', {}, `nearer than ${near(distance)}`),
      make('span', {}, 'What a distance means is not known here: fusionreid calibrate measures it.'),
    );
  } else {
    text.replaceChildren(
      make('strong', {}, 'No line'),
      make('span', {}, 'The nearest photos are shown, however far they are.'),
    );
  }
  byId('line').setAttribute('aria-valuetext', text.textContent);
  byId('line-left').textContent = stops.length ? oneIn(stops[0].rate) : '0';
}

// ---- what was found

function photo(item, ...inside) {
  const frame = make('div', { class: 'photo' });
  if (item.image) {
    const image = make('img', { src: item.image, alt: `Photo ${item.name}`, loading: 'lazy' });
    image.addEventListener('error', () => {
      image.remove();
      frame.classList.add('missing');
    });
    frame.append(image);
  } else {
    frame.classList.add('missing');
  }
  frame.append(...inside);
  return frame;
}

function card(query, answer, accepted) {
  const acts = make('div', { class: 'acts' });
  if (answer.image && state.gallery.explains) {
    acts.append(make('button', { type: 'button', onclick: () => explain(query, answer) }, 'Why?'));
  }
  if (answer.image) {
    acts.append(make('button', { type: 'button', onclick: () => takeItem(answer) }, 'Search'));
  }
  const rate = answer.false_match_rate ?? null;
  const [low, high] = answer.false_match_rate_95 ?? [0, 0];
  return make('article', { class: `card ${accepted ? 'near' : 'far'}`, title: answer.name },
    photo(answer, make('span', { class: 'rank' }, `${answer.rank}`), acts),
    make('div', { class: 'main' },
      make('strong', { class: 'distance' }, near(answer.distance)),
      make('span', { class: 'who' }, answer.identity === null ? '' : `id ${answer.identity}`)),
    make('div', { class: 'small' }, cameraName(answer.camera)),
    answer.seconds && make('div', { class: 'small' }, answer.seconds.map(clock).join(' to ')),
    rate === null ? null : make('div', {
      class: 'small',
      title: `Share of the pairs of strangers that are as near; 95%: ${percent(low)} to ${percent(high)}`,
    }, low > 0 ? `${percent(rate)} of strangers` : `≤ ${percent(high)} of strangers`));
}

function renderQueries() {
  const query = state.queries[state.current];
  byId('drop').classList.toggle('full', Boolean(query) && !query.broken);
  byId('preview').hidden = !query || query.broken === true;
  byId('query-name').hidden = !query;
  byId('strip').hidden = state.queries.length < 2;
  byId('drop-text').querySelector('strong').textContent = query ? 'Another photo' : 'Drop a photo of a person';
  if (!query) return;
  if (byId('preview').getAttribute('src') !== query.url) byId('preview').src = query.url;
  byId('query-name').textContent = query.name;
  byId('strip').replaceChildren(...state.queries.map((each, number) => make('button', {
    type: 'button',
    'aria-pressed': `${number === state.current}`,
    'aria-label': each.name,
    onclick: () => {
      state.current = number;
      render();
    },
  }, make('img', { src: each.url, alt: '' }))));
}

function renderEmpty() {
  const row = make('div', { class: 'row' });
  for (const item of state.gallery.samples) {
    const button = make('button', { type: 'button', class: 'thumb', title: item.name, onclick: () => takeItem(item) },
      make('img', { src: item.image, alt: `Search for ${item.name}` }));
    button.firstChild.addEventListener('error', () => button.remove());
    row.append(button);
  }
  byId('headline').replaceChildren();
  byId('answers').replaceChildren(make('div', { class: 'empty' },
    make('h2', {}, 'Who is it?'),
    make('p', {}, 'Drop a photo that shows one person, cut out as the photos of the index are. '
      + 'It stays in memory and is forgotten with the answer.'
      + `${row.children.length ? ' Or begin with one of the index:' : ''}`),
    row));
}

// A box in place of answers: a sign, a headline and a sentence.
function notice(sign, headline, ...sentence) {
  const signs = {
    nobody: ['M24 25a8 8 0 1 0 0-16 8 8 0 0 0 0 16Z', 'M9 41c1.500-8 7.500-12 15-12s13.500 4 15 12', 'M6 6l36 36'],
    problem: ['M24 6 44 41H4L24 6Z', 'M24 19v10', 'M24 35v.5'],
    empty: ['M6 10h36L28 26v14l-8-4V26L6 10Z'],
  };
  return make('div', { class: `notice ${sign}`, role: 'status' }, picture('sign', signs[sign]),
    make('div', {}, make('h2', {}, headline), make('p', {}, ...sentence)));
}

function render() {
  renderLine();
  renderQueries();
  const query = state.queries[state.current];
  if (!query) {
    renderEmpty();
    return;
  }
  if (query.error) {
    byId('headline').replaceChildren();
    byId('answers').replaceChildren(notice('problem', 'No answer', query.error));
    return;
  }
  if (!query.result) {
    byId('headline').replaceChildren(make('h2', {}, 'Searching'), make('span', { class: 'spinner' }));
    return;
  }
  const { answers } = query.result;
  const { accepts, stop, distance } = currentLine();
  const found = answers.filter(accepts);
  const beyond = answers.filter((answer) => !accepts(answer));
  const scope = state.cameras.size ? [...state.cameras].map(cameraName).join(', ') : '';
  const parts = [];
  byId('headline').replaceChildren();
  if (!answers.length) {
    parts.push(notice('empty', 'No photo passes the filter', 'Choose more cameras, or a longer time.'));
  } else if (found.length) {
    byId('headline').replaceChildren(
      make('h2', {}, distance === null
        ? `The ${plural(found.length, 'nearest photo', 'nearest photos')}`
        : `${found.length}${beyond.length ? '' : ' or more'} ${found.length === 1 ? 'photo is' : 'photos are'} near enough`),
      make('p', {}, scope || 'all cameras'));
    parts.push(make('div', { class: 'grid' }, ...found.map((answer) => card(query, answer, true))));
  } else {
    parts.push(notice('nobody', 'Nobody',
      `No photo of ${scope || 'any camera'} is near enough: the line is at `,
      make('strong', {}, linePlace().slice(3)), stop && ownLines() ? ' pairs of strangers' : '',
      ', the nearest photo at the distance ', make('strong', {}, near(answers[0].distance)), '.'));
  }
  if (beyond.length) {
    parts.push(
      make('div', { class: 'divider' }, found.length
        ? `the line ${linePlace()}: from here on, nobody`
        : 'the nearest, beyond the line'),
      make('div', { class: 'grid' }, ...beyond.map((answer) => card(query, answer, false))));
  }
  byId('answers').replaceChildren(...parts);
}

// ---- why

async function explain(query, answer) {
  const body = byId('why-body');
  body.replaceChildren(make('div', { class: 'loading' }, make('span', { class: 'spinner' }), 'Computing the maps'));
  byId('why').showModal();
  try {
    const reason = await ask(`/api/why/${answer.item}`, { method: 'POST', body: formFor(query) });
    body.replaceChildren(
      make('div', { class: 'pair' },
        make('figure', {}, make('img', { src: reason.query, alt: 'Map over the photo that is searched for' }),
          make('figcaption', {}, query.name)),
        make('figure', {}, make('img', { src: reason.answer, alt: 'Map over the photo that was found' }),
          make('figcaption', {}, answer.name))),
      make('div', { class: 'scale' }, '0', make('i', {}), `${reason.top} times the average`),
      make('p', {}, reason.anything
        ? `Bright pixels raise the similarity of the two photos most. Their distance is ${near(reason.distance)}.`
        : 'Nothing makes these two photos more alike than any two people.'));
  } catch (error) {
    body.replaceChildren(make('p', { class: 'error', role: 'alert' }, error.message));
  }
}

// ---- people

function thumb(item) {
  const button = make('button', { type: 'button', class: 'thumb', title: item.name, onclick: () => takeItem(item) });
  if (item.image) button.append(make('img', { src: item.image, alt: `Search for ${item.name}`, loading: 'lazy' }));
  button.append(make('span', {}, cameraName(item.camera)));
  return button;
}

function personCard(person) {
  const row = make('div', { class: 'row' }, ...person.items.map(thumb));
  const all = person.photos > person.items.length
    ? make('button', { type: 'button', class: 'plain' }, 'All photos') : null;
  all?.addEventListener('click', async () => {
    try {
      const everything = await ask(`/api/people/${person.person}`);
      row.replaceChildren(...everything.items.map(thumb));
      all.remove();
    } catch (error) {
      all.textContent = error.message;
    }
  });
  const cameras = person.cameras.map(cameraName).join(', ');
  return make('article', { class: 'person' },
    make('header', {},
      make('h3', {}, `Person ${person.person}`),
      make('p', {}, `${plural(person.photos, 'photo', 'photos')}${cameras ? `, ${cameras}` : ''}; `
        + `distance to their center ${near(person.mean_distance)} on average`),
      all),
    row);
}

async function loadPeople() {
  const headline = byId('people-headline');
  try {
    let page;
    for (;;) {
      page = await ask(`/api/people?first=${state.peopleShown}&count=${PEOPLE}`);
      if (page.ready) break;
      headline.replaceChildren(make('h2', {}, 'Grouping the photos'), make('span', { class: 'spinner' }));
      await new Promise((done) => setTimeout(done, 700));
    }
    headline.replaceChildren(
      make('h2', {}, plural(page.total, 'person', 'people')),
      make('p', {}, `in ${plural(page.photos, 'photo', 'photos')}, ${whole(page.unsure)} of them unsure`
        + `${page.max_distance === null ? '' : `; joined up to the distance ${near(page.max_distance)}`}. A group is a proposal.`));
    byId('people').append(...page.people.map(personCard));
    state.peopleShown += page.people.length;
    byId('more-people').hidden = state.peopleShown >= page.total;
  } catch (error) {
    headline.replaceChildren(make('p', { class: 'error', role: 'alert' }, error.message));
  }
}

// ---- the interface over HTTP

async function loadApi() {
  byId('example').textContent = `curl -F images=@photo.jpg -F k=5 -F max_distance=0.2 ${location.origin}/api/search`;
  if (byId('routes').children.length) return;
  try {
    const { paths } = await ask('/openapi.json');
    for (const [path, verbs] of Object.entries(paths)) {
      for (const [verb, route] of Object.entries(verbs)) {
        const fields = Object.entries(
          route.requestBody?.content?.['multipart/form-data']?.schema?.properties ?? {});
        for (const parameter of route.parameters ?? []) {
          fields.push([parameter.name, { description: `${parameter.in}, ${parameter.schema?.type ?? ''}` }]);
        }
        const list = make('dl', {});
        for (const [name, field] of fields) {
          list.append(make('dt', {}, make('code', {}, name)), make('dd', {}, field.description ?? ''));
        }
        byId('routes').append(make('article', { class: 'route' },
          make('h3', {}, make('span', { class: 'verb' }, verb.toUpperCase()), make('code', {}, path)),
          make('p', {}, route.summary ?? ''), fields.length ? list : null));
      }
    }
  } catch (error) {
    byId('routes').replaceChildren(make('p', { class: 'error', role: 'alert' }, error.message));
  }
}

// ---- views and the start

function show(view) {
  for (const name of ['search', 'people', 'api']) {
    byId(`view-${name}`).hidden = name !== view;
    byId(`tab-${name}`).setAttribute('aria-selected', `${name === view}`);
  }
  if (view === 'people' && !state.peopleAsked) {
    state.peopleAsked = true;
    loadPeople();
  }
  if (view === 'api') loadApi();
}

function setUpCameras() {
  const { cameras } = state.gallery;
  const select = byId('query-camera');
  select.replaceChildren(make('option', { value: '0' }, 'unknown camera'),
    ...cameras.filter(({ camera }) => camera !== '0')
      .map(({ camera }) => make('option', { value: camera }, cameraName(camera))));
  byId('cameras').replaceChildren(...cameras.map(({ camera, images }) => {
    const chip = make('button', { type: 'button', 'aria-pressed': 'false', title: plural(images, 'photo', 'photos') },
      cameraName(camera));
    chip.addEventListener('click', () => {
      if (!state.cameras.delete(camera)) state.cameras.add(camera);
      chip.setAttribute('aria-pressed', `${state.cameras.has(camera)}`);
      byId('all-cameras').setAttribute('aria-pressed', `${!state.cameras.size}`);
      search();
    });
    return chip;
  }));
  byId('cameras').prepend(make('button', {
    type: 'button',
    id: 'all-cameras',
    'aria-pressed': 'true',
    onclick: () => {
      state.cameras.clear();
      for (const chip of byId('cameras').children) chip.setAttribute('aria-pressed', `${chip.id === 'all-cameras'}`);
      search();
    },
  }, 'all'));
}

async function open() {
  byId('view-token').hidden = true;
  try {
    state.gallery = await ask('/api/gallery');
  } catch (error) {
    byId('view-token').hidden = error.status !== 401;
    if (error.status !== 401) byId('summary').textContent = error.message;
    return;
  }
  const { gallery } = state;
  const known = gallery.cameras.filter(({ camera }) => camera !== '0').length;
  byId('summary').textContent = `${gallery.name}: ${plural(gallery.images, 'photo', 'photos')}, `
    + `${plural(known, 'camera', 'cameras')} · ${gallery.features}`;
  byId('summary').title = byId('summary').textContent;
  document.title = `${gallery.name} · FusionReID`;
  setUpCameras();
  if (gallery.times) {
    byId('times').hidden = false;
    byId('from-time').placeholder = clock(gallery.times[0]);
    byId('to-time').placeholder = clock(gallery.times[1] + 1);
  }
  setUpLine();
  show('search');
  search();
}

async function bringToken(token) {
  await ask('/api/session', { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
}

function listen() {
  const drop = byId('drop');
  byId('file').addEventListener('change', (event) => {
    takeFiles(event.target.files);
    event.target.value = '';
  });
  // A file that misses its place must not replace the page.
  for (const kind of ['dragover', 'drop']) {
    window.addEventListener(kind, (event) => event.preventDefault());
  }
  drop.addEventListener('dragover', () => drop.classList.add('over'));
  for (const kind of ['dragleave', 'drop']) drop.addEventListener(kind, () => drop.classList.remove('over'));
  window.addEventListener('drop', (event) => {
    if (state.gallery) {
      show('search');
      takeFiles(event.dataTransfer.files);
    }
  });
  window.addEventListener('paste', (event) => {
    if (state.gallery && event.clipboardData.files.length) takeFiles(event.clipboardData.files);
  });
  byId('preview').addEventListener('error', () => {
    const query = state.queries[state.current];
    if (query) query.broken = true;
    renderQueries();
  });
  byId('line').addEventListener('input', render);
  byId('query-camera').addEventListener('change', search);
  byId('other-cameras').addEventListener('change', search);
  for (const name of ['from-time', 'to-time']) byId(name).addEventListener('change', search);
  for (const name of ['search', 'people', 'api']) byId(`tab-${name}`).addEventListener('click', () => show(name));
  byId('more-people').addEventListener('click', loadPeople);
  byId('why-close').addEventListener('click', () => byId('why').close());
  byId('why').addEventListener('click', (event) => {
    if (event.target === byId('why')) byId('why').close();
  });
  byId('token-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      await bringToken(byId('token').value.trim());
      byId('token').value = '';
      byId('token-error').hidden = true;
      open();
    } catch (error) {
      byId('token-error').textContent = error.message;
      byId('token-error').hidden = false;
    }
  });
}

async function begin() {
  listen();
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token) {
    // So that it is neither seen nor kept in the history.
    history.replaceState(null, '', location.pathname);
    try {
      await bringToken(token);
    } catch { /* the form asks for it */ }
  }
  open();
}

begin();
