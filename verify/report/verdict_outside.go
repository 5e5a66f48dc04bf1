package report

import (
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// outside has the points of a plot that are outside the envelope. The plot shows the root mean square over the channels. Where only the largest
// channel is outside, the point is below the limit that is drawn, and has another mark.
type outside struct{ rms, channel chart.Series }

func newOutside(shape chart.Shape) *outside {
	return &outside{rms: chart.Series{Name: outsideName, Class: chart.Bad, Shape: shape}, channel: chart.Series{Name: channelName, Class: chart.Bad, Shape: chart.Diamonds}}
}

func (o *outside) add(p chart.Point, byChannel bool) {
	if byChannel {
		o.channel.Points = append(o.channel.Points, p)
	} else {
		o.rms.Points = append(o.rms.Points, p)
	}
}

func (o *outside) points() []chart.Point { return slices.Concat(o.rms.Points, o.channel.Points) }
func (o *outside) count() int            { return len(o.rms.Points) + len(o.channel.Points) }

// byChannel reports whether the largest channel of an error exceeds its limit, or comes nearer to it, and the root mean square does not exceed its own.
func byChannel(e *logits.TokenError, allowed [2]float64) bool {
	rms, largest := e.Shares(allowed)
	return largest > rms && rms <= 1
}

// worstOf returns the error of an output where its share of the limit is largest, and what is allowed there.
func worstOf(s *logits.Site) (e logits.TokenError, allowed [2]float64) {
	return logits.TokenError{RMS: float64(s.RMS), Max: float64(s.Max)}, [2]float64{float64(s.RMSAllowed), float64(s.MaxAllowed)}
}

// siteText describes the error of an output.
func siteText(s *logits.Site) string {
	e, allowed := worstOf(s)
	return siteWords(s) + ": " + errorOf(s, &e, allowed)
}

// errorOf is errorText of an output, and says that one has no limit which has to be equal.
func errorOf(s *logits.Site, e *logits.TokenError, allowed [2]float64) string {
	if s.Exact {
		return valueText(e.RMS) + ", has to be equal, bit for bit"
	}
	return errorText(e, allowed)
}

// isOutside reports whether the i-th token of an output is outside what is allowed, and isChannel whether only its largest channel is.
func isOutside(s *logits.Site, i int) (is, isChannel bool) {
	if s.Exact {
		return !s.OK && s.Errors[i].Largest != 0, false
	}
	return s.Share(i) > 1, byChannel(&s.Errors[i], s.Allowed[i])
}

// errorText describes an error with its limit and the share of it; and that of the largest channel if this is nearer to its own.
func errorText(e *logits.TokenError, allowed [2]float64) string {
	rms, largest := e.Shares(allowed)
	s := limitText(e.RMS, allowed[0], rms)
	if largest > rms {
		s += "; largest channel " + limitText(e.Max, allowed[1], largest)
	}
	return s
}

// limitText describes a number, its limit, and the share of it.
func limitText(x, limit, share float64) string {
	if isNotFinite(limitOf(x, limit)) {
		return valueText(x) + ", no limit"
	}
	return fmt.Sprintf("%s, limit %s (%s)", valueText(x), page.Number(limit), percent(share))
}

// outsideText says from where on tokens of an output are outside, how many are, and how many of them only by their largest channel; "" for none.
func outsideText(what string, s *logits.Site) string {
	if s == nil || s.First == nil {
		return ""
	}
	n, channel := 0, 0
	for i := range s.Errors {
		if is, isChannel := isOutside(s, i); is {
			n++
			if isChannel {
				channel++
			}
		}
	}
	if n == 0 {
		return ""
	}
	said := fmt.Sprintf(" %s from token %d of row %d (position %d) on: %s", what, s.First.Token, s.First.Row, s.First.Position, text.Count(n, "token"))
	if channel > 0 {
		said += fmt.Sprintf(", %s of them only by the largest channel", text.Grouped(int64(channel)))
	}
	return said + "."
}
