package run

import "time"

// spell says when a task has worked at a stretch for long enough, workMost: a commit must not wait for a thousand records of
// slow functions, nor a transaction run into its timeout. Of fast ones it does not ask the clock for each record.
type spell struct {
	began time.Time
	ask   int // after so many records
}

// askMost is how many records may be done without asking the clock.
const askMost = 64

// over is asked before each record, with the number of those that are done.
func (s *spell) over(done int) bool {
	if done == 0 || done < s.ask {
		return false
	}
	took := time.Since(s.began)
	if took >= workMost {
		return true
	}
	each := took/time.Duration(done) + 1
	s.ask = done + int(min(askMost, max(1, (workMost-took)/2/each)))
	return false
}
