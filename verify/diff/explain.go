package diff

import "context"

// explain finds what was done to A's tensor of a pair to make B's.
func explain(_ context.Context, _ *pair, _ *pairs) (*Explanation, error) {
	return &Explanation{Kind: Other}, nil
}
