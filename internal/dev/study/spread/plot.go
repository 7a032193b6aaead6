package spread

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The pictures, in pixels.
const (
	plotWidth  = 760
	plotHeight = 400
	plotLeft   = 74
	plotRight  = 200 // room for the names of the lines
	plotTop    = 66
	plotBottom = 58
)

// look is how a mode is drawn: told apart by people who see few colours too
// (Okabe and Ito's), and without colours by its dashes.
type look struct{ light, dark, dash string }

func lookOf(m Mode) look {
	return [...]look{
		{"#0072b2", "#56b4e9", "none"},
		{"#d55e00", "#ff8c42", "9 3"},
		{"#009e73", "#2fc49b", "2 3"},
		{"#6e6e6e", "#b0b0b0", "9 3 2 3"},
	}[m]
}

// axis is a logarithmic or a linear scale.
type axis struct {
	least, most float64
	logarithmic bool
	ticks       []float64
	name        string
}

// at returns where a value is, 0 to 1.
func (a axis) at(v float64) float64 {
	share := (v - a.least) / (a.most - a.least)
	if a.logarithmic {
		share = math.Log(max(v, a.least)/a.least) / math.Log(a.most/a.least)
	}
	return min(max(share, 0), 1)
}

// picture is one plot.
type picture struct {
	strings.Builder
	x, y axis
}

func (p *picture) px(v float64) float64 {
	return plotLeft + (plotWidth-plotLeft-plotRight)*p.x.at(v)
}

func (p *picture) py(v float64) float64 {
	return plotHeight - plotBottom - (plotHeight-plotTop-plotBottom)*p.y.at(v)
}

func (p *picture) text(x, y float64, class, anchor, text string) {
	fmt.Fprintf(p, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>\n", x, y, class, anchor, text)
}

func (p *picture) segment(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(p, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", class, x1, y1, x2, y2)
}

// begin draws what is behind the lines.
func (p *picture) begin(title, below string) {
	fmt.Fprintf(p, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"%s: %s\">\n",
		plotWidth, plotHeight, plotWidth, plotHeight, title, below)
	p.WriteString("<style>\ntext{font-family:system-ui,sans-serif;font-size:13px;fill:#222}\n.title{font-size:15px;font-weight:600}\n.below{font-size:12px;fill:#555}\n" +
		".ground{fill:#fff}\n.grid{stroke:#ddd}\n.axis{stroke:#555;fill:none}\n.line{fill:none;stroke-width:2}\n")
	for _, m := range Modes() {
		fmt.Fprintf(p, ".c%d{stroke:%s}\n.f%d{fill:%s}\n", m, lookOf(m).light, m, lookOf(m).light)
	}
	p.WriteString("@media (prefers-color-scheme:dark){\ntext{fill:#e6e6e6}\n.below{fill:#aaa}\n.ground{fill:#14171c}\n.grid{stroke:#333a44}\n.axis{stroke:#aaa}\n")
	for _, m := range Modes() {
		fmt.Fprintf(p, ".c%d{stroke:%s}\n.f%d{fill:%s}\n", m, lookOf(m).dark, m, lookOf(m).dark)
	}
	p.WriteString("}\n</style>\n")
	fmt.Fprintf(p, "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n", plotWidth, plotHeight)
	p.text(plotLeft, 26, "title", "start", title)
	p.text(plotLeft, 46, "below", "start", below)
	left, right, bottom, top := p.px(p.x.least), p.px(p.x.most), p.py(p.y.least), p.py(p.y.most)
	for _, v := range p.y.ticks {
		p.segment(left, p.py(v), right, p.py(v), "grid")
		p.text(left-8, p.py(v)+4, "tick", "end", p.y.label(v))
	}
	for _, v := range p.x.ticks {
		p.segment(p.px(v), bottom, p.px(v), top, "grid")
		p.text(p.px(v), bottom+19, "tick", "middle", p.x.label(v))
	}
	p.segment(left, bottom, right, bottom, "axis")
	p.segment(left, bottom, left, top, "axis")
	p.text((left+right)/2, bottom+42, "tick", "middle", p.x.name)
	fmt.Fprintf(p, "<text transform=\"translate(18 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", (bottom+top)/2, p.y.name)
}

// label writes a value at an axis.
func (a axis) label(v float64) string {
	if !a.logarithmic {
		return strconv.FormatFloat(100*v, 'f', -1, 64) + " %"
	}
	if v < 1000 {
		return number(v)
	}
	return grouped(int(v))
}

// path draws a line through points.
func (p *picture) path(m Mode, points [][2]float64) {
	fmt.Fprintf(p, "<path class=\"line c%d\" stroke-dasharray=\"%s\" d=\"", m, lookOf(m).dash)
	for i, at := range points {
		fmt.Fprintf(p, "%c%.1f %.1f", "ML"[min(i, 1)], p.px(at[0]), p.py(at[1]))
	}
	p.WriteString("\"/>\n")
}

// legend names a line, at the right, and says more of it.
func (p *picture) legend(m Mode, y float64, more ...string) {
	right := p.px(p.x.most)
	fmt.Fprintf(p, "<path class=\"line c%d\" stroke-dasharray=\"%s\" d=\"M%.1f %.1fh28\"/>\n", m, lookOf(m).dash, right+14, y-4)
	p.text(right+49, y, "tick", "start", m.String())
	for i, line := range more {
		p.text(right+49, y+16*float64(i+1), "below", "start", line)
	}
}

// decades returns the powers of ten from one value to another.
func decades(least, most float64) []float64 {
	var out []float64
	for v := least; v <= most*1.0001; v *= 10 {
		out = append(out, v)
	}
	return out
}

// PlotSpread draws which share of the members had an entry by which time after
// its commit, for runs that differ in mode only.
func PlotSpread(all []Figures) string {
	set := all[0].Setting
	least, most := math.Inf(1), 0.0
	for i := range all {
		if c := all[i].Curve; len(c) > 0 {
			least, most = min(least, milliseconds(c[0].Lag)), max(most, milliseconds(c[len(c)-1].Lag))
		}
	}
	if most == 0 {
		least, most = 1, 10
	}
	least = math.Pow(10, math.Floor(math.Log10(max(least, 0.01))))
	most = math.Pow(10, math.Ceil(math.Log10(max(most, 10*least))))
	p := &picture{
		x: axis{least: least, most: most, logarithmic: true, ticks: decades(least, most), name: "time since the commit, in milliseconds (logarithmic)"},
		y: axis{most: 1, ticks: []float64{0, 0.2, 0.4, 0.6, 0.8, 1}, name: "members that have the entry"},
	}
	p.begin("Spread of an entry to "+grouped(set.Members)+" passives", set.conditions())
	for i := range all {
		f := &all[i]
		m := f.Setting.Mode
		points := [][2]float64{{least, 0}}
		x, y := -1.0, -1.0
		for k, c := range f.Curve {
			ms := milliseconds(c.Lag)
			if k == 0 {
				points = append(points, [2]float64{ms, 0})
			}
			// Less than a pixel is not seen, but for the last step of all.
			if p.px(ms)-x >= 1 || y-p.py(c.Share) >= 1 || y < 0 || k == len(f.Curve)-1 {
				points = append(points, [2]float64{ms, c.Share})
				x, y = p.px(ms), p.py(c.Share)
			}
		}
		points = append(points, [2]float64{most, f.Coverage})
		p.path(m, points)
		p.legend(m, plotTop+14+64*float64(i), fixed(f.Copies)+" copies each", copiesText(f.LeaderCopies)+" from the leader")
	}
	p.WriteString("</svg>\n")
	return p.String()
}

// conditions says what is the same for all lines of a picture.
func (s *Setting) conditions() string {
	text := s.String()
	return text[strings.Index(text, ";")+2:]
}

// PlotEgress draws how many copies of an entry the leader sent, against the
// number of members.
func PlotEgress(all []Figures) string {
	least, most, top := math.Inf(1), 0.0, 10.0
	for i := range all {
		n := float64(all[i].Setting.Members)
		least, most, top = min(least, n), max(most, n), max(top, all[i].LeaderCopies)
	}
	least = math.Pow(10, math.Floor(math.Log10(least)))
	most = math.Pow(10, math.Ceil(math.Log10(max(most, 10*least))))
	top = math.Pow(10, math.Ceil(math.Log10(top)))
	p := &picture{
		x: axis{least: least, most: most, logarithmic: true, ticks: decades(least, most), name: "passive members (logarithmic)"},
		y: axis{least: 1, most: top, logarithmic: true, ticks: decades(1, top), name: "copies sent by the leader"},
	}
	set := all[0].Setting
	p.begin("Leader egress: copies of each entry that the leader sends", set.conditions())
	row := 0
	for _, m := range Modes() {
		var points [][2]float64
		last := 0.0
		for i := range all {
			if f := &all[i]; f.Setting.Mode == m {
				points = append(points, [2]float64{float64(f.Setting.Members), f.LeaderCopies})
				last = f.LeaderCopies
			}
		}
		if len(points) == 0 {
			continue
		}
		p.path(m, points)
		for _, at := range points {
			fmt.Fprintf(p, "<circle class=\"f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n", m, p.px(at[0]), p.py(at[1]))
		}
		p.legend(m, plotTop+14+48*float64(row), copiesText(last)+" at "+grouped(int(points[len(points)-1][0])))
		row++
	}
	p.WriteString("</svg>\n")
	return p.String()
}

func copiesText(x float64) string {
	if x >= 100 {
		return grouped(int(math.Round(x)))
	}
	return fixed(x)
}
