// The site opened as files, without a server: browsers start no worker from file://, and the theme searches in one.
// So its script runs in a frame that nobody sees, with the messages passed on. The theme looks for this name.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      this.waiting = [];
      const page = frame.contentDocument;
      this.inner.postMessage = (data) => setTimeout(() => this.hear(data));
      const script = page.createElement("script");
      script.src = address;
      // Messages that come before the script has loaded would be heard by nobody.
      script.onload = () => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach((data) => this.deliver(data));
      };
      page.body.append(script);
    }
    postMessage(data) {
      this.waiting === null ? this.deliver(data) : this.waiting.push(data);
    }
    deliver(data) {
      this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }));
    }
    hear(data) {
      const event = new MessageEvent("message", { data });
      this.onmessage?.(event);
      this.dispatchEvent(event);
    }
    terminate() {
      this.inner.frameElement.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}
