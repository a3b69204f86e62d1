// The editor of workflows: line numbers, and a check as you type. Without it, the button Check does
// the same.
(() => {
  'use strict';
  const form = document.querySelector('form[data-editor]'), text = form?.querySelector('textarea'), out = document.getElementById('check');
  if (!text || !out) return;

  const gutter = document.createElement('div');
  gutter.className = 'gutter';
  gutter.setAttribute('aria-hidden', 'true');
  text.before(gutter);
  const number = () => {
    const faults = new Map();
    for (const li of out.querySelectorAll('.faults [data-line]')) faults.set(Number(li.dataset.line), li.querySelector('p:not(.small)')?.textContent ?? '');
    const lines = text.value.split('\n').length;
    while (gutter.childElementCount > lines) gutter.lastChild.remove();
    while (gutter.childElementCount < lines) gutter.append(Object.assign(document.createElement('span'), {textContent: gutter.childElementCount + 1}));
    for (const [i, line] of [...gutter.children].entries()) {
      line.classList.toggle('bad', faults.has(i + 1));
      line.title = faults.get(i + 1) ?? '';
    }
    gutter.scrollTop = text.scrollTop;
  };
  text.addEventListener('scroll', () => { gutter.scrollTop = text.scrollTop; });

  // A fault's line is shown and selected.
  const links = () => {
    for (const li of out.querySelectorAll('.faults [data-line]')) {
      const at = li.querySelector('.at');
      if (!at) continue;
      const b = document.createElement('button');
      b.type = 'button';
      b.className = 'link';
      b.textContent = at.textContent;
      b.addEventListener('click', () => {
        const lines = text.value.split('\n'), n = Number(li.dataset.line) - 1;
        const start = lines.slice(0, n).reduce((sum, line) => sum + line.length + 1, 0);
        text.focus();
        text.setSelectionRange(start, start + (lines[n] ?? '').length);
        text.scrollTop = Math.max(0, (n - 5) * parseFloat(getComputedStyle(text).lineHeight));
      });
      at.replaceWith(b);
    }
  };

  let due = 0, under = null, dirty = false;
  const check = async () => {
    under?.abort();
    under = new AbortController();
    const {signal} = under;
    try {
      const res = await fetch('/workflows/check', {method: 'POST', body: new URLSearchParams({text: text.value, name: form.dataset.editor}), signal, redirect: 'error'});
      const body = await res.text();
      if (signal.aborted) return;
      if (res.ok) out.innerHTML = body;
      else out.textContent = `Not checked: ${body.trim() || res.status}`;
    } catch {
      if (signal.aborted) return;
      out.textContent = 'Not checked: the gateway does not answer.';
    }
    links(); number();
  };
  text.addEventListener('input', () => { dirty = true; number(); clearTimeout(due); due = setTimeout(check, 400); });

  // Tab indents, with Escape before it the focus moves on.
  let leave = false;
  text.addEventListener('keydown', (e) => {
    if (e.key === 'Escape') { leave = true; return; }
    if (e.key === 'Tab' && !e.shiftKey && !leave) { e.preventDefault(); document.execCommand('insertText', false, '  '); }
    if ((e.ctrlKey || e.metaKey) && e.key === 's') { e.preventDefault(); form.querySelector('[value=save]').click(); }
    if (e.key !== 'Shift') leave = false;
  });
  form.addEventListener('submit', () => { dirty = false; });
  addEventListener('beforeunload', (e) => { if (dirty) e.preventDefault(); });

  number();
  if (out.childElementCount) links(); else check();
})();
