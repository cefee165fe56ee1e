package feed

import "slices"

// segmentSize is how many events are kept, handed out and forgotten together.
const segmentSize = 64

// eventLog keeps the newest events. It is written in segments that are only ever appended to, so
// that readers share them without a copy.
type eventLog struct {
	most      int // how many events are kept at least, as long as
	mostBytes int // their data is not more than that

	first    uint64 // the number of the oldest event that is kept
	next     uint64 // the number of the next event
	bytes    int
	segments [][]Event // all full but the last
}

func newEventLog(most, mostBytes int) eventLog {
	return eventLog{most: most, mostBytes: mostBytes, first: 1, next: 1}
}

func (l *eventLog) append(e Event) {
	e.Seq = l.next
	l.next++
	l.bytes += len(e.Data)
	last := len(l.segments) - 1
	if last < 0 || len(l.segments[last]) == segmentSize {
		l.segments = append(l.segments, make([]Event, 0, segmentSize))
		last++
	}
	l.segments[last] = append(l.segments[last], e)
	for len(l.segments) > 1 && (l.bytes > l.mostBytes || l.next-l.first >= uint64(l.most+segmentSize)) {
		l.forget()
	}
}

// forget drops the oldest segment.
func (l *eventLog) forget() {
	for _, e := range l.segments[0] {
		l.bytes -= len(e.Data)
	}
	l.first += segmentSize
	l.segments[0] = nil
	l.segments = l.segments[1:]
}

// restart forgets everything, and puts every position handed out so far before the log's begin.
func (l *eventLog) restart() {
	l.next++
	l.first, l.segments, l.bytes = l.next, nil, 0
}

// clone is a log that goes on by itself; l must not be written to any more.
func (l *eventLog) clone() eventLog {
	c := *l
	c.segments = slices.Clone(l.segments)
	return c
}

// after gives at most limit events behind seq (limit < 1: no limit), fewer when a segment ends; ok
// is false when seq is before the log's begin or behind its end.
func (l *eventLog) after(seq uint64, limit int) (events []Event, ok bool) {
	want := seq + 1
	if want < l.first || want > l.next || want == 0 {
		return nil, false
	}
	if want == l.next {
		return nil, true
	}
	at := want - l.first
	events = l.segments[at/segmentSize][at%segmentSize:]
	if limit > 0 && len(events) > limit {
		events = events[:limit]
	}
	return events[:len(events):len(events)], true
}
