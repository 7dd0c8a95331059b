// Pages that are opened from files may start no worker, so the search runs in a frame instead.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.srcdoc = "<!doctype html><script></script>"
      frame.onload = () => {
        frame.onload = null
        const inner = frame.contentWindow
        inner.importScripts = (...urls) => Promise.all(urls.map(one => load(inner, one)))
        inner.postMessage = data => {
          const event = new MessageEvent("message", { data })
          this.dispatchEvent(event)
          if (this.onmessage) this.onmessage(event)
        }
        load(inner, url).then(() => {
          this.inner = inner
          this.waiting.splice(0).forEach(data => this.postMessage(data))
        })
      }
      document.body.append(frame)
    }
    postMessage(data) {
      if (this.inner) this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }))
      else this.waiting.push(data)
    }
    terminate() {}
  }

function load(inner, url) {
  return new Promise((resolve, reject) => {
    const script = inner.document.createElement("script")
    script.src = url
    script.onload = resolve
    script.onerror = reject
    inner.document.head.append(script)
  })
}
