package metrics

import "time"

// Distribution is what is known of several values. The zero value is none; it belongs to one goroutine.
type Distribution struct {
	Count    int64
	Sum      float64
	Min, Max float64 // 0 if there are no values
}

// Add counts a value in.
func (d *Distribution) Add(x float64) {
	if d.Count == 0 || x < d.Min {
		d.Min = x
	}
	if d.Count == 0 || x > d.Max {
		d.Max = x
	}
	d.Count++
	d.Sum += x
}

// AddAll counts the values of another one in.
func (d *Distribution) AddAll(o Distribution) {
	if o.Count == 0 {
		return
	}
	if d.Count == 0 || o.Min < d.Min {
		d.Min = o.Min
	}
	if d.Count == 0 || o.Max > d.Max {
		d.Max = o.Max
	}
	d.Count += o.Count
	d.Sum += o.Sum
}

// window is Kafka's metrics.sample.window.ms.
const window = 30 * time.Second

// recent is the values of the window under way and of the one before: a highest value of all time says nothing of today.
type recent struct {
	begun     time.Time
	now, last Distribution
}

func (r *recent) add(d Distribution, at time.Time) {
	r.turn(at)
	r.now.AddAll(d)
}

// turn begins a new window if it is time.
func (r *recent) turn(at time.Time) {
	age := at.Sub(r.begun)
	if age < window {
		return
	}
	r.last = r.now
	if age >= 2*window {
		r.last = Distribution{}
	}
	r.now, r.begun = Distribution{}, at
}

// both are the values of both windows.
func (r *recent) both(at time.Time) Distribution {
	r.turn(at)
	d := r.last
	d.AddAll(r.now)
	return d
}
