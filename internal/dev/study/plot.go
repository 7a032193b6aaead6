package study

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The picture, in pixels.
const (
	plotWidth  = 760
	plotHeight = 330 // of one plot
	plotLeft   = 64
	plotRight  = 150 // room for the names of the lines
	plotTop    = 44
	plotBottom = 56
)

// colors of the lines, told apart by people who see few colours too (Okabe and
// Ito's); the second list is for a dark ground.
func colors() (light, dark []string) {
	return []string{"#6e6e6e", "#0072b2", "#d55e00", "#009e73", "#b4518a", "#8a6d00"},
		[]string{"#b0b0b0", "#56b4e9", "#ff8c42", "#2fc49b", "#e39ac6", "#f0d048"}
}

// dashes of the lines, so that they can be told apart without colours.
func dashes() []string { return []string{"2 3", "8 3", "6 2 2 2", "12 4", "4 2", "none"} }

// panel is one plot.
type panel struct {
	top          int
	title        string
	least, most  float64 // milliseconds
	logarithmic  bool
	ticks        []float64
	series       []Series
	svg          *strings.Builder
	plotW, plotH float64
}

// Plot draws the cumulative shares of all series as an SVG picture with two
// plots for each set of rules, as in the paper: the upper one with a
// logarithmic axis.
func Plot(all []Series) string {
	var b strings.Builder
	panels := panelsOf(all)
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"Time from a leader's crash to the next leader, cumulative\">\n",
		plotWidth, len(panels)*plotHeight, plotWidth, len(panels)*plotHeight)
	style(&b)
	fmt.Fprintf(&b, "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n", plotWidth, len(panels)*plotHeight)
	for i := range panels {
		p := &panels[i]
		p.top, p.svg = i*plotHeight, &b
		p.plotW, p.plotH = plotWidth-plotLeft-plotRight, plotHeight-plotTop-plotBottom
		p.draw()
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// panelsOf sorts series into plots, leaving out those that would be empty.
func panelsOf(all []Series) []panel {
	var out []panel
	for _, rules := range []Rules{Paper, PreVote} {
		upper := panel{
			title: "More randomness in the election timeout, " + rules.String(), logarithmic: true,
			least: 50, most: float64(GiveUp / time.Millisecond), ticks: []float64{50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000},
		}
		lower := panel{
			title: "Shorter election timeouts, " + rules.String(),
			least: 0, most: 600, ticks: []float64{0, 100, 200, 300, 400, 500, 600},
		}
		for _, s := range all {
			switch {
			case s.Rules != rules:
			case s.Setting.Lower:
				lower.series = append(lower.series, s)
			default:
				upper.series = append(upper.series, s)
			}
		}
		for _, p := range []panel{upper, lower} {
			if len(p.series) > 0 {
				out = append(out, p)
			}
		}
	}
	return out
}

// style gives both grounds their colours.
func style(b *strings.Builder) {
	light, dark := colors()
	b.WriteString("<style>\ntext{font-family:system-ui,sans-serif;font-size:13px;fill:#222}\n.title{font-size:15px;font-weight:600}\n" +
		".ground{fill:#fff}\n.grid{stroke:#ddd}\n.axis{stroke:#555;fill:none}\n.line{fill:none;stroke-width:2}\n")
	for i, c := range light {
		fmt.Fprintf(b, ".c%d{stroke:%s}\n", i, c)
	}
	b.WriteString("@media (prefers-color-scheme:dark){\ntext{fill:#e6e6e6}\n.ground{fill:#14171c}\n.grid{stroke:#333a44}\n.axis{stroke:#aaa}\n")
	for i, c := range dark {
		fmt.Fprintf(b, ".c%d{stroke:%s}\n", i, c)
	}
	b.WriteString("}\n</style>\n")
}

// x and y turn milliseconds and a share into places.
func (p *panel) x(ms float64) float64 {
	share := (ms - p.least) / (p.most - p.least)
	if p.logarithmic {
		share = math.Log(max(ms, p.least)/p.least) / math.Log(p.most/p.least)
	}
	return plotLeft + p.plotW*min(max(share, 0), 1)
}

func (p *panel) y(share float64) float64 {
	return float64(p.top) + plotTop + p.plotH*(1-share)
}

func (p *panel) text(x, y float64, class, anchor, text string) {
	fmt.Fprintf(p.svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>\n", x, y, class, anchor, text)
}

func (p *panel) segment(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(p.svg, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", class, x1, y1, x2, y2)
}

func (p *panel) draw() {
	p.text(plotLeft, p.y(1)-18, "title", "start", p.title)
	for _, share := range []float64{0, 0.2, 0.4, 0.6, 0.8, 1} {
		p.segment(plotLeft, p.y(share), plotLeft+p.plotW, p.y(share), "grid")
		p.text(plotLeft-8, p.y(share)+4, "tick", "end", strconv.Itoa(int(share*100+0.5))+" %")
	}
	for _, ms := range p.ticks {
		p.segment(p.x(ms), p.y(0), p.x(ms), p.y(1), "grid")
		name := strconv.Itoa(int(ms))
		if ms >= 1000 {
			name = strconv.Itoa(int(ms)/1000) + ",000"
		}
		p.text(p.x(ms), p.y(0)+19, "tick", "middle", name)
	}
	p.segment(plotLeft, p.y(0), plotLeft+p.plotW, p.y(0), "axis")
	p.segment(plotLeft, p.y(0), plotLeft, p.y(1), "axis")
	p.text(plotLeft+p.plotW/2, p.y(0)+41, "tick", "middle", "time without a leader, in milliseconds"+map[bool]string{true: " (logarithmic)"}[p.logarithmic])
	dash := dashes()
	for i := range p.series {
		k := (len(dash) - len(p.series) + i) % len(dash) // the last one is the solid one
		p.line(&p.series[i], k, dash[k])
		y := p.y(1) + 14 + 22*float64(i)
		fmt.Fprintf(p.svg, "<path class=\"line c%d\" stroke-dasharray=\"%s\" d=\"M%.1f %.1fh26\"/>\n", k, dash[k], plotLeft+p.plotW+14, y-4)
		p.text(plotLeft+p.plotW+46, y, "tick", "start", p.series[i].Setting.String())
	}
}

// line draws the share of the trials that had a leader after each time. A trial
// that was given up never gets one.
func (p *panel) line(s *Series, k int, dash string) {
	fmt.Fprintf(p.svg, "<path class=\"line c%d\" stroke-dasharray=\"%s\" d=\"M%.1f %.1f", k, dash, p.x(p.least), p.y(0))
	n, x, y := len(s.Times), p.x(p.least), p.y(0)
	for i, t := range s.Times {
		ms := float64(t) / float64(time.Millisecond)
		if t >= GiveUp || ms > p.most {
			break
		}
		// Less than a pixel is not seen, but for the last step of all.
		toX, toY := p.x(ms), p.y(float64(i+1)/float64(n))
		if toX-x >= 1 || y-toY >= 1 || i == n-1 {
			fmt.Fprintf(p.svg, "L%.1f %.1f", toX, toY)
			x, y = toX, toY
		}
	}
	done := float64(n-s.Unfinished) / float64(n)
	fmt.Fprintf(p.svg, "L%.1f %.1f\"/>\n", p.x(p.most), p.y(done))
}
