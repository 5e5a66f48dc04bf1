package logits

import (
	"flag"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"
)

var (
	falseAlarmRuns = flag.Int("falsealarms", 0, "count false alarms in so many legal runs")
	falseAlarmSeed = flag.Int("falsealarms-seed", 0, "the first seed; 0 for one that the clock gives")
)

// wantedRate is the rate of false alarms that enough runs show to be smaller: one in so many.
const wantedRate = 3000

// TestFalseAlarms counts false alarms in a batch of legal runs of all models and precisions, and prints the rate below which they
// are with a confidence of 95%: make false-alarms RUNS=10000. It fails if that many runs should show less than one in wantedRate
// and do not, and if fewer runs have too many.
func TestFalseAlarms(t *testing.T) {
	if *falseAlarmRuns == 0 {
		t.Skip("without -falsealarms")
	}
	first := *falseAlarmSeed
	if first == 0 {
		first = int(time.Now().Unix() % 100000)
	}
	t.Logf("seeds from %d on", first)
	cases := seedCases(t)
	const chunk = 5
	type job struct {
		s     *seedCase
		first int
	}
	jobs := make(chan job, *falseAlarmRuns/chunk+1)
	var mu sync.Mutex
	var workers sync.WaitGroup
	total, alarms, worst := 0, 0, 0.0
	for range runtime.GOMAXPROCS(0) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for j := range jobs {
				count, share := j.s.alarmsFrom(t, j.first, chunk)
				mu.Lock()
				total, alarms, worst = total+chunk, alarms+count, math.Max(worst, share)
				if count > 0 {
					t.Logf("%s %s: %d outside among the seeds from %d on, %.2f of the envelope", j.s.name, j.s.precision, count, j.first, share)
				}
				mu.Unlock()
			}
		}()
	}
	for sent := 0; sent < *falseAlarmRuns; sent += chunk {
		k := sent / chunk
		jobs <- job{&cases[k%len(cases)], first + k/len(cases)*chunk}
	}
	close(jobs)
	workers.Wait()
	bound := float64(total) / mostExpected(alarms)
	t.Logf("%d false alarms in %d runs: fewer than one in %.0f, with a confidence of 95%%; at most %.2f of the envelope", alarms, total, bound, worst)
	enough := float64(total) >= wantedRate*mostExpected(0)
	if bound < wantedRate && enough || alarms > 3+2*total/wantedRate {
		t.Errorf("one in %.0f is not below one in %d", bound, wantedRate)
	}
}

// mostExpected returns the largest mean of a Poisson distribution with which at most count events have a probability of 5%.
func mostExpected(count int) float64 {
	low, high := 0.0, 20+4*float64(count)
	for range 100 {
		mean := (low + high) / 2
		term, sum := math.Exp(-mean), 0.0
		for i := 0; i <= count; i++ {
			sum += term
			term *= mean / float64(i+1)
		}
		if sum > 0.05 {
			low = mean
		} else {
			high = mean
		}
	}
	return low
}

func TestMostExpected(t *testing.T) {
	for count, want := range map[int]float64{0: 2.996, 1: 4.744, 2: 6.296, 10: 16.962} {
		if got := mostExpected(count); math.Abs(got-want) > 1e-3 {
			t.Errorf("%d: %f, want %f", count, got, want)
		}
	}
}
