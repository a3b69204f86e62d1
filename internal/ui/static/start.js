// Runs before the first paint, and has the other scripts run after it: what a page says is on the
// screen before buttons and keys are added to it.
(() => {
  'use strict';
  const me = document.currentScript, root = document.documentElement;
  const saved = (key) => { try { return localStorage.getItem('gaff.' + key) ?? ''; } catch { return ''; } };
  // What would move the rows is done now: compact rows, and hidden columns.
  root.dataset.rows = saved('rows');
  const page = location.pathname.split('/')[1] || 'overview';
  window.gaffTables = {
    page,
    label: (table) => table.closest('[aria-label]')?.getAttribute('aria-label') ?? '',
    hidden: (table) => new Set(saved(`columns.${page}.${gaffTables.label(table)}`).split('|').filter(Boolean)),
    columns: (table) => {
      const not = gaffTables.hidden(table);
      [...table.tHead.rows[0].cells].forEach((th, i) => {
        const hide = not.has(th.dataset.name ?? th.textContent.trim());
        if (hide === th.hidden && !hide) return;
        th.hidden = hide;
        for (const row of table.tBodies[0].rows) if (row.children[i]) row.children[i].hidden = hide;
      });
    },
  };
  for (const table of document.querySelectorAll('table.list')) if (table.tHead && table.tBodies[0]) gaffTables.columns(table);

  // Keys that are pressed until app.js is there are handled then.
  const early = [], hold = (e) => early.push(e);
  addEventListener('keydown', hold);
  window.gaffEarly = () => { removeEventListener('keydown', hold); return early; };

  let begun = false;
  const begin = () => {
    if (begun) return;
    begun = true;
    for (const src of me.dataset.then.split(' ')) {
      const s = document.createElement('script');
      s.src = src; s.async = false; // in this order
      document.head.append(s);
      s.onload = () => { if (s === document.head.lastElementChild) root.dataset.ready = ''; };
    }
  };
  requestAnimationFrame(() => setTimeout(begin));
  setTimeout(begin, 500); // a page in the background is not painted
})();
