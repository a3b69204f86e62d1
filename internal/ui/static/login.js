// A button that shows the token while it is entered.
(() => {
  'use strict';
  for (const input of document.querySelectorAll('input[data-show]')) {
    const b = document.createElement('button');
    b.type = 'button'; b.className = 'ghost reveal'; b.textContent = 'Show';
    b.setAttribute('aria-label', 'Show the token');
    b.addEventListener('click', () => {
      const hidden = input.type === 'password';
      input.type = hidden ? 'text' : 'password';
      b.textContent = hidden ? 'Hide' : 'Show';
      b.setAttribute('aria-label', hidden ? 'Hide the token' : 'Show the token');
    });
    input.after(b);
  }
})();
