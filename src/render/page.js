// Flamepipe's additions to inferno's script, which stands above. They replace some of its functions.

// The mouse may be over a frame before `init` has run.
details = {};

// The graph opens where its roots are, or the frame that its address names.
var inferno_init = init;
init = function (evt) {
    inferno_init(evt);
    var y = parseFloat(get_params().y);
    var height = svg.height.baseVal.value;
    if (y >= 0) window.scrollTo(0, y - window.innerHeight / 2);
    else if (!inverted) window.scrollTo(0, height);

    // Buttons and the line of details stay in view, and are drawn above the frames.
    var line = details.parentNode;
    [searchbtn, unzoombtn, matchedtxt, line].forEach(function (text) { svg.appendChild(text); });
    function follow() {
        var top = window.scrollY;
        var bottom = Math.min(0, top + window.innerHeight - height);
        [searchbtn, unzoombtn].forEach(function (text) {
            text.setAttribute("transform", "translate(0," + top + ")");
        });
        [line, matchedtxt].forEach(function (text) {
            text.setAttribute("transform", "translate(0," + (inverted ? top : bottom) + ")");
        });
    }
    window.addEventListener("scroll", follow);
    window.addEventListener("resize", follow);
    follow();
};

// A search looks at names only. It ignores case unless it has a capital letter. It says what is
// wrong with an expression, and that nothing matches.
var pattern = null;
g_to_func = function (frame) {
    var name = g_to_text(frame).replace(/ \([^(]*\)$/, "");
    return { match: function () { return pattern.test(name); } };
};
var inferno_search = search;
search = function (term) {
    function say(text) {
        matchedtxt.classList.remove("hide");
        matchedtxt.firstChild.nodeValue = text;
    }
    var has_capital = /[A-Z]/.test(term.replace(/\\./g, ""));
    try {
        pattern = new RegExp(term, has_capital ? "" : "i");
    } catch (error) {
        say(error.message);
        return;
    }
    inferno_search(term);
    if (!searching) say("Matched: 0%");
};
