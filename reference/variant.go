package reference

import "fmt"

// Variant is what all models of the original implementation have in common, and transformers makes configurable.
type Variant struct {
	HeadDim       int        // width of one attention head; 0 for Width/NumHeads
	KVHeads       int        // heads of keys and values; each serves NumHeads/KVHeads consecutive query heads
	AttentionBias bool       // queries, keys and values have biases
	ConvTaps      int        // taps of the convolution
	Activation    Activation // of the gates of the MLP and of the recurrent block
	NormEpsilon   float64    // added to the mean square in norms
	RopeTheta     float64    // base of the rotation frequencies: the upper limit of the wavelengths over 2π
	RotaryFactor  float64    // part of each head that is rotated
}

// original is the variant of google-deepmind/recurrentgemma.
var original = Variant{KVHeads: 1, ConvTaps: 4, Activation: GELUTanh, NormEpsilon: 1e-6, RopeTheta: 10_000, RotaryFactor: 0.5}

// OriginalVariant returns the variant of google-deepmind/recurrentgemma.
func OriginalVariant() Variant { return original }

// variant returns the variant of the configuration.
func (c *Config) variant() *Variant {
	if c.Variant == nil {
		return &original
	}
	return c.Variant
}

// HeadDim returns the width of one attention head.
func (c *Config) HeadDim() int {
	if n := c.variant().HeadDim; n > 0 {
		return n
	}
	return c.Width / c.NumHeads
}

// QueryWidth returns the width of the queries of all heads.
func (c *Config) QueryWidth() int { return c.NumHeads * c.HeadDim() }

// KVWidth returns the width of the keys of all heads, which is also that of the values.
func (c *Config) KVWidth() int { return c.variant().KVHeads * c.HeadDim() }

// ConvTaps returns the number of taps of the convolution.
func (c *Config) ConvTaps() int { return c.variant().ConvTaps }

// rotary returns how many channels of a head span the rotation frequencies, and the number of frequencies. Each turns a pair
// of channels. If the former is odd, transformers rounds the number of frequencies up.
func (c *Config) rotary() (span, angles int) {
	span = int(float64(c.HeadDim()) * c.variant().RotaryFactor)
	return span, (span + 1) / 2
}

// validateRecurrent returns an error if no recurrent block can have this configuration.
func (c *Config) validateRecurrent() error {
	if c.LRUWidth < 1 || c.LRUWidth%c.NumHeads != 0 {
		return fmt.Errorf("RG-LRU width %d cannot be divided into %d heads", c.LRUWidth, c.NumHeads)
	}
	if taps := c.ConvTaps(); taps < 1 {
		return fmt.Errorf("the convolution has %d taps, want 1 or more", taps)
	}
	return nil
}

// validateAttention returns an error if no attention block can have this configuration.
func (c *Config) validateAttention() error {
	v := c.variant()
	switch {
	case v.HeadDim == 0 && c.Width%c.NumHeads != 0, c.Variant == nil && c.HeadDim()%4 != 0:
		return fmt.Errorf("width %d cannot be divided into %d heads whose dimension is a multiple of 4", c.Width, c.NumHeads)
	case v.KVHeads < 1 || c.NumHeads%v.KVHeads != 0:
		return fmt.Errorf("%d heads of keys and values cannot serve %d query heads equally", v.KVHeads, c.NumHeads)
	case !(v.RotaryFactor >= 0 && v.RotaryFactor <= 1) || !(v.RopeTheta > 0):
		return fmt.Errorf("rotary factor %v and base %v, want a factor from 0 to 1 and a positive base", v.RotaryFactor, v.RopeTheta)
	case c.AttentionWindow < 1:
		return fmt.Errorf("attention window is %d, want 1 or more", c.AttentionWindow)
	}
	if span, angles := c.rotary(); 2*angles > c.HeadDim() {
		return fmt.Errorf("%d channels of a head of %d cannot be rotated in pairs", span, c.HeadDim())
	}
	return nil
}
