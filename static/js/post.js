// A POST as a form on the page would send it.

export function post(address, fields = {}) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  return fetch(address, {
    method: "POST",
    headers: { "HX-Request": "true" },
    body: new URLSearchParams({ csrfmiddlewaretoken: token, ...fields }),
  }).catch(() => null); // the network is away: the stream says so
}
