// The page's title, and before it how much is unread.

let text = document.title;
let unread = "";

export const pageTitle = text;

export function setTitle(words) {
  text = words;
  show();
}

// "3" or "99+", or "" for nothing.
export function setUnread(words) {
  unread = words;
  show();
}

function show() {
  document.title = unread ? `(${unread}) ${text}` : text;
}
