// The palette: one box for pages, commands, things by id, name or prompt, and those seen lately; and
// the list of keys. The page /search does the same without it.
(() => {
  'use strict';
  const el = (name, text, props = {}) => Object.assign(document.createElement(name), {textContent: text}, props);
  const dialog = (name, label) => {
    const d = el('dialog', '', {className: name});
    d.setAttribute('aria-label', label);
    d.addEventListener('click', (e) => { if (e.target === d) d.close(); });
    document.body.append(d);
    return d;
  };

  // What the dialog can do: a page, a form to post, or a step within it.
  const post = (path) => {
    const form = el('form', '', {method: 'post', action: path});
    document.body.append(form);
    form.submit();
  };
  const clean = (text) => text.replace(/\s+/g, ' ').trim();
  const ofForm = (form, group, about) => {
    const details = form.closest('details.confirm');
    return {
      group, about, name: clean((details?.querySelector('summary') ?? form.querySelector('button')).textContent),
      warning: details ? clean(details.querySelector('p')?.textContent ?? '') : '', button: clean(form.querySelector('button').textContent),
      run: () => (document.contains(form) ? form.requestSubmit() : post(form.getAttribute('action'))),
    };
  };
  const here = () => [...document.querySelectorAll('main .head form[method=post], main .callout form[method=post]')]
    .filter((f) => !f.querySelector('input, select, textarea') && f.querySelectorAll('button').length === 1)
    .map((f) => ofForm(f, 'On this page', ''));
  const pages = () => [...document.querySelectorAll('.side a[data-go]')].map((a) => ({
    group: 'Pages', name: 'Go to ' + clean(a.textContent), page: a.getAttribute('href'), about: a.dataset.go ? 'g ' + a.dataset.go : '',
  }));
  const recent = () => {
    try {
      const kept = JSON.parse(localStorage.getItem('gaff.recent') ?? '{}');
      return kept.who === document.body.dataset.who ? kept.list.filter((r) => r.page !== location.pathname).map((r) => ({group: 'Recent', name: r.name, page: r.page, about: r.kind})) : [];
    } catch { return []; }
  };
  const found = (page) => [
    ...[...page.querySelectorAll('[data-command]')].map((li) => {
      const a = li.querySelector('a'), about = clean(li.querySelector(':scope > .muted')?.textContent ?? '');
      const group = page.querySelector('[name=q][type=search]') && !asked ? 'Suggestions' : 'Commands';
      return a ? {group, about, name: clean(a.textContent), page: a.getAttribute('href')} : ofForm(li.querySelector('form'), group, about);
    }),
    ...[...page.querySelectorAll('main table.list tbody tr')].map((row) => ({
      group: 'Found', name: clean(row.querySelector('td.name a').textContent), page: row.querySelector('td.name a').getAttribute('href'),
      about: clean(row.cells[0].textContent + ' ' + row.cells[2].textContent),
    })),
  ];

  let box, input, list, status, all = [], at = 0, asked = '', stop = null, timer = 0;
  const fits = (item) => {
    const text = (item.name + ' ' + item.about).toLowerCase();
    return input.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  };
  const show = (server) => {
    const had = new Set(), order = ['On this page', 'Commands', 'Found', 'Recent', 'Suggestions', 'Pages'];
    all = [...here().filter(fits), ...server, ...recent().filter(fits), ...pages().filter(fits)]
      .filter((i) => !i.page || !had.has(i.page) && had.add(i.page))
      .sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group)).slice(0, 40);
    list.replaceChildren();
    let group = '';
    all.forEach((item, i) => {
      if (item.group !== group) {
        group = item.group;
        list.append(el('li', group, {className: 'group', role: 'presentation'}));
      }
      const li = el('li', '', {id: 'palette-' + i, role: 'option'});
      li.append(el('span', item.name.length > 110 ? item.name.slice(0, 110) + '…' : item.name), el('span', item.about, {className: 'muted'}));
      li.addEventListener('pointermove', () => { if (at !== i) mark(i); });
      li.addEventListener('click', () => choose(item));
      list.append(li);
    });
    status.textContent = all.length ? '' : 'Nothing found';
    mark(0);
  };
  const mark = (i) => {
    at = Math.min(Math.max(i, 0), all.length - 1);
    for (const li of list.querySelectorAll('[role=option]')) li.setAttribute('aria-selected', String(li.id === 'palette-' + at));
    if (all.length) input.setAttribute('aria-activedescendant', 'palette-' + at); else input.removeAttribute('aria-activedescendant');
    document.getElementById('palette-' + at)?.scrollIntoView({block: 'nearest'});
  };
  const choose = (item) => {
    if (!item) return;
    if (item.page) { location.href = item.page; return; }
    if (!item.warning) { item.run(); return; }
    const sure = el('div', '', {className: 'sure'}), yes = el('button', item.button, {type: 'button', className: 'primary'}), no = el('button', 'Back', {type: 'button'});
    yes.addEventListener('click', item.run);
    no.addEventListener('click', () => { sure.remove(); box.removeAttribute('data-sure'); input.focus(); });
    sure.append(el('h2', item.name), el('p', item.warning), yes, no);
    box.setAttribute('data-sure', '');
    box.append(sure);
    setTimeout(() => no.focus(), 50); // not before the key that chose it is up
  };
  let last = [];
  const ask = async () => {
    asked = input.value.trim();
    if (!document.querySelector('[data-find]')) return; // limited to a part of the gateway
    stop?.abort();
    stop = new AbortController();
    try {
      const res = await fetch('/search?q=' + encodeURIComponent(asked), {headers: {'HX-Request': 'true'}, signal: stop.signal});
      if (!res.ok) { status.textContent = res.status === 429 ? 'Too many requests; wait a moment' : 'The search failed'; return; }
      last = found(new DOMParser().parseFromString(await res.text(), 'text/html'));
      show(last);
      list.dataset.asked = asked;
    } catch (e) { if (e.name !== 'AbortError') status.textContent = 'The gateway does not answer'; }
  };
  const build = () => {
    box = dialog('palette', 'Search and commands');
    input = el('input', '', {type: 'text', maxLength: 256, autocomplete: 'off', spellcheck: false, placeholder: 'An id, words of a prompt, a page, or: retry, cancel, pause…'});
    list = el('ul', '', {id: 'palette-list', role: 'listbox'});
    status = el('p', '', {className: 'muted', role: 'status'});
    for (const [name, value] of [['role', 'combobox'], ['aria-expanded', 'true'], ['aria-controls', 'palette-list'], ['aria-autocomplete', 'list'], ['aria-label', 'Search or do']]) input.setAttribute(name, value);
    list.setAttribute('aria-label', 'Results');
    input.addEventListener('input', () => {
      show(last.filter(fits));
      clearTimeout(timer);
      timer = setTimeout(ask, 90);
    });
    input.addEventListener('keydown', (e) => {
      const to = {ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 8, PageUp: at - 8}[e.key];
      if (to !== undefined) { e.preventDefault(); mark(to); }
      if (e.key === 'Enter' && !e.isComposing) { e.preventDefault(); choose(all[at]); }
    });
    box.addEventListener('close', () => { box.querySelector('.sure')?.remove(); box.removeAttribute('data-sure'); });
    box.append(input, list, status);
  };

  let keys;
  const help = () => {
    if (!keys) {
      keys = dialog('keys', 'Keys');
      const rows = [['Search or do', '/', 'Ctrl K'], ['These keys', '?'], ['Next, previous row', 'j', 'k'], ['Open the row', 'Enter'], ['Choose the row', 'x'], ['Older, newer event, on its page', 'j', 'k'],
        ['Previous, next file, enlarged', '←', '→'], ['Zoom of a file', 'z'], ['Close', 'Esc'],
        ...pages().filter((p) => p.about).map((p) => [p.name, ...p.about.split(' ')])];
      const dl = el('dl', '');
      for (const [name, ...list] of rows) {
        const line = el('div', ''), dd = el('dd', '');
        for (const k of list) dd.append(el('kbd', k), ' ');
        line.append(el('dt', name), dd);
        dl.append(line);
      }
      const close = el('button', 'Close', {type: 'button'});
      close.addEventListener('click', () => keys.close());
      keys.append(el('h2', 'Keys'), dl, close);
    }
    keys.showModal();
  };

  window.gaffPalette = (text) => {
    if (text === '?') { help(); return; }
    if (!box) build();
    if (box.open) return;
    input.value = text;
    last = [];
    box.showModal();
    show([]);
    input.focus(); input.select();
    ask();
  };
})();
