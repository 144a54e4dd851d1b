"""The tables of the race, from what `run` measured: first what taskgate wants to reach, then everything by itself."""

import re
import statistics
from pathlib import Path

COUNTS = Path(__file__).resolve().parent.parent / "counts.tsv"


class Measured:
    """What there is; a part that was not measured is empty."""

    def __init__(self):
        self.surroundings = ""
        # (peer, work) -> of each round cpu (us), rate (1/s), p50 and p99 (us), peak (MB).
        self.rounds = {}
        # (peer, work) -> instructions per request; -> system calls by name.
        self.instructions, self.calls = {}, {}
        # "few" and "many" routes -> instructions, seconds from start to ready, resident MB.
        self.route_instructions, self.starts, self.resident = {}, {}, {}
        # peer -> connections -> MB, nothing where they are refused; connections of both, and peer -> us with few and many, by round.
        self.memory, self.crowd, self.crowds = {}, (), {}


def whole(measured, peers, routes):
    parts = [measured.surroundings, f"### The goals\n\n{goals(measured, peers, routes)}"]
    if measured.rounds:
        parts.append(f"### CPU time, throughput, latency\n\n{of_rounds(measured, peers)}")
    if measured.instructions:
        parts.append(f"### Instructions (user space) and system calls per request\n\n{of_counts(measured, peers)}")
    if measured.memory:
        parts.append(f"### Resident memory, MB\n\n{of_memory(measured, peers)}")
    return "\n".join(parts)


def goals(measured, peers, routes):
    """The table of what is to be reached."""
    rows = []
    for work, kind, goal in (("cfw", "JSON", 60), ("prime", "XML", 90)):
        if own := measured.instructions.get(("taskgate", work)):
            rows.append([f"instructions, {kind} route", thousands(own), f"<= {goal}k", held(own, goal * 1000), beside(measured.instructions, peers, work, thousands)])
    for work, kind in (("cfw", "JSON"), ("prime", "XML")):
        if ("taskgate", work) in measured.calls:
            sums = {key: sum(calls.values()) for key, calls in measured.calls.items()}
            own = sums["taskgate", work]
            rows.append([f"system calls, {kind} route", f"{own:.1f}", "6", held(round(own, 1), 6), beside(sums, peers, work, lambda calls: f"{calls:.1f}")])
    for work, kind, limits in (("cfw", "JSON", {"nginx-lua": 0.85, "bare": 1.15, "raw": 1.6}), ("prime", "XML", {"nginx-lua": 0.33, "bare": 1.0, "raw": 1.6})):
        for peer in peers:
            if peer.name in limits and (peer.name, work) in measured.rounds:
                found = ratios(measured, peer.name, work, "cpu")
                goal, stretch = limits[peer.name], " (stretch)" if peer.name == "raw" else ""
                times = f"{middle(measured, 'taskgate', work, 'cpu'):.1f} us against {middle(measured, peer.name, work, 'cpu'):.1f}"
                rows.append([f"CPU time, {kind} route, times that of {peer.title}", spread(found, 2), f"<= {goal}{stretch}", held(statistics.median(found), goal), times])
    for work, kind, goal in (("cfw", "JSON", 12), ("prime", "XML", 45)):
        if own := counted(f"{work}/stop/ok translation"):
            rows.append([f"instructions, translation alone, {kind} (`scripts/counts`)", thousands(own), f"<= {goal}k", held(own, goal * 1000), ""])
    for work, kind in (("cfw", "JSON"), ("prime", "XML")):
        if ("bare", work) in measured.rounds:
            found = ratios(measured, "bare", work, "p99")
            times = f"{middle(measured, 'taskgate', work, 'p99') / 1000:.2f} ms against {middle(measured, 'bare', work, 'p99') / 1000:.2f}"
            rows.append([f"p99 at half of the own ceiling, {kind}, times that of bare hyper", spread(found, 2), "<= 2", held(statistics.median(found), 2), times])
    for connections, goal in ((0, 20), (1000, 40)):
        own = measured.memory.get("taskgate", {}).get(connections)
        if own:
            of = {(name, None): sizes.get(connections) or 0 for name, sizes in measured.memory.items()}
            what = f"{connections:,} connections" if connections else "idle"
            rows.append([f"resident memory, {what}, MB", f"{own:.0f}", f"<= {goal}", held(own, goal), beside(of, peers, None, lambda size: f"{size:.0f}")])
    for key, what, goal in (("few", "5 vendors", 100), ("many", f"{routes:,} routes", 1000)):
        found = [seconds * 1000 for seconds in measured.starts.get(key, [])]
        if found and key in measured.resident:
            rows.append([f"start to ready, {what}, ms", spread(found, 0), f"<= {goal}", held(statistics.median(found), goal), f"{measured.resident[key]:.0f} MB"])
    if measured.route_instructions:
        few, many = measured.route_instructions["few"], measured.route_instructions["many"]
        rows.append([f"instructions at {routes:,} routes, times those at 5 vendors'", f"{many / few:.3f}", "<= 1.05", held(many / few, 1.05), f"{thousands(many)} against {thousands(few)}"])
    if found := measured.crowds.get("taskgate"):
        few, many = measured.crowd
        of = {(name, None): statistics.median([many / few for few, many in pairs]) for name, pairs in measured.crowds.items()}
        own = [many / few for few, many in found]
        rows.append([f"CPU time at {many:,} connections, times that at {few}", spread(own, 2), "<= 1.2", held(statistics.median(own), 1.2), beside(of, peers, None, lambda ratio: f"{ratio:.2f}")])
    return table(["what, per request", "taskgate", "goal", "", "beside, in the same run"], rows)


def held(value, goal):
    return "reached" if value <= goal else f"{value / goal:.2f} times the goal"


def beside(found, peers, work, shown):
    """The others' figures in one cell."""
    others = [f"{peer.short} {shown(found[peer.name, work])}" for peer in peers if peer.name != "taskgate" and found.get((peer.name, work))]
    return ", ".join(others)


def ratios(measured, peer, work, key):
    """Round by round: what ran in the same minute is compared."""
    return [mine[key] / theirs[key] for mine, theirs in zip(measured.rounds["taskgate", work], measured.rounds[peer, work])]


def middle(measured, peer, work, key):
    return statistics.median([one[key] for one in measured.rounds[peer, work]])


def counted(name):
    """The baseline of `scripts/counts`."""
    text = COUNTS.read_text() if COUNTS.exists() else ""
    found = re.search(rf"^{re.escape(name)}\t(\d+)$", text, re.M)
    return int(found[1]) if found else None


def of_rounds(measured, peers):
    parts = []
    for work in dict.fromkeys(work for _, work in measured.rounds):
        rows = []
        for peer in peers:
            of = measured.rounds.get((peer.name, work))
            if of:
                rates = f"{middle(measured, peer.name, work, 'rate'):,.0f}"
                rows.append([
                    peer.title, kind(peer), spread([one["cpu"] for one in of], 1), spread(ratios(measured, peer.name, work, "cpu"), 2),
                    rates, f"{middle(measured, peer.name, work, 'p50'):,.0f}", spread([one["p99"] for one in of], 0),
                ])
        head = ["gateway", "kind", "CPU us per request", "taskgate costs times that", "requests/s", "p50 us", "p99 us"]
        turns = len(measured.rounds["taskgate", work])
        parts.append(f"**{work} stop**, medians of {turns} rounds (lowest to highest); latency at half of the own throughput:\n\n{table(head, rows)}")
    return "\n".join(parts)


def of_counts(measured, peers):
    works = list(dict.fromkeys(work for _, work in measured.instructions))
    head = ["gateway", "kind"]
    for work in works:
        head += [f"{work}: instructions", "taskgate needs times that", f"{work}: system calls"]
    rows = []
    for peer in peers:
        row = [peer.title, kind(peer)]
        for work in works:
            count = measured.instructions.get((peer.name, work))
            if count:
                row += [thousands(count), f"{measured.instructions['taskgate', work] / count:.2f}", f"{sum(measured.calls[peer.name, work].values()):.1f}"]
            else:
                row += ["", "", ""]
        rows.append(row)
    calls = measured.calls["taskgate", works[0]]
    own = ", ".join(f"{name} {count:.2f}" for name, count in sorted(calls.items(), key=lambda call: -call[1]) if count >= 0.005)
    return table(head, rows) + f"\ntaskgate's system calls per request ({works[0]}): {own}.\n"


def of_memory(measured, peers):
    connections = list(measured.memory["taskgate"])
    head = ["gateway", "kind", *[f"{number:,} connections" if number else "idle" for number in connections], "peak of the rounds"]
    shown = lambda value: "refused" if value is None else f"{value:.0f}"
    rows = []
    for peer in peers:
        sizes = measured.memory[peer.name]
        peaks = [one["peak"] for (name, _), turns in measured.rounds.items() if name == peer.name for one in turns]
        rows.append([peer.title, kind(peer), *[shown(sizes[number]) for number in connections], shown(max(peaks, default=None))])
    return table(head, rows)


def kind(peer):
    return "translates" if peer.translates else "plain"


def thousands(number):
    return f"{number / 1000:.1f}k"


def spread(values, digits):
    low, mid, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{mid} ({low} to {high})" if len(values) > 1 else mid


def table(head, rows):
    return "\n".join(["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]) + "\n"


def write(path, report):
    """Between the marks where the file has them, else as the whole file."""
    text = path.read_text() if path.exists() else ""
    marked = re.compile(r"(<!-- race:[^\n]*-->\n).*(<!-- end of the race -->\n)", re.S)
    path.write_text(marked.sub(lambda marks: f"{marks[1]}\n{report}\n{marks[2]}", text) if marked.search(text) else report)
