// Players in the page's own dress (without scripts the browser's own stay) and a playhead over the spectrogram.
for (const audio of document.querySelectorAll("audio")) {
  const player = audio.closest(".player"), original = audio.closest(".original");
  const head = original && original.closest(".sample").querySelector(".playhead");
  let button = audio.parentElement.querySelector("button"), bar, time;
  if (player) {
    audio.controls = false;
    audio.hidden = true;
    [button, bar, time] = ["button", "input", "output"].map(name => player.appendChild(document.createElement(name)));
    Object.assign(button, { className: "play" });
    Object.assign(bar, { type: "range", min: 0, max: 1, step: "any", value: 0 });
    bar.setAttribute("aria-label", "position");
    bar.oninput = () => { audio.currentTime = bar.value * audio.duration; show(); };
    button.setAttribute("aria-label", "play");
  }
  button.hidden = false;
  const seconds = value => isFinite(value) ? value.toFixed(1) + " s" : "";
  const show = () => {
    const share = audio.currentTime / audio.duration || 0;
    if (bar) { bar.value = share; time.value = seconds(audio.currentTime || audio.duration); }
    if (head) {
      head.style.visibility = share ? "visible" : "hidden";
      head.setAttribute("x1", share * 100 + "%"); head.setAttribute("x2", share * 100 + "%");
    }
    if (!audio.paused) requestAnimationFrame(show);
  };
  button.onclick = event => { event.stopPropagation(); audio.paused ? audio.play() : audio.pause(); };
  audio.onplay = () => {
    document.querySelectorAll("audio").forEach(other => other === audio || other.pause());
    button.classList.add("on"); show();
  };
  audio.onpause = () => button.classList.remove("on");
  audio.onended = () => { audio.currentTime = 0; };
  audio.onloadedmetadata = audio.onseeked = show;
  show();
}
