use super::*;

#[test]
fn without_ha_the_lease_is_taken_at_once() {
    let mut node = Node::new(false);
    node.tick(0);
    assert_eq!(node.takes(), Some((Generation(0), None)));
    assert!(
        node.steps
            .iter()
            .any(|step| matches!(step, Step::Take { force: true, .. }))
    );
}

#[test]
fn a_candidate_that_is_not_heard_reads_before_it_takes() {
    let mut node = Node::new(true);
    node.tick(0);
    assert!(node.reads() && node.takes().is_none());
}

#[test]
fn the_deadline_counts_from_the_asking() {
    let mut node = Node::leading(true);
    assert_eq!(node.leadership.trusted_until(), Some(at(9_500)));
    node.tick(3_334);
    let ask = node.asked();
    node.input(9_000, |l, now, steps| {
        l.on_renewed(ask, Generation(5), now, steps)
    });
    assert_eq!(node.leadership.trusted_until(), Some(at(3_334 + 9_500)));
}

#[test]
fn a_renewal_gives_up_before_the_lease_does() {
    let mut node = Node::leading(true);
    let mut now = 3_334;
    node.tick(now);
    while let Some(deadline) = node.leadership.trusted_until() {
        let left = deadline.since(node.now);
        for step in node.steps.clone() {
            if let Step::Renew { within, ask, .. } = step {
                assert!(within < left && within <= TTL / 3, "{within:?} of {left:?}");
                now += u64::try_from(within.as_millis()).unwrap();
                node.input(now, |l, now, steps| l.on_unanswered(ask, now, steps));
            }
        }
        if node.leadership.term().is_some() {
            now = now.max(node.leadership.next_deadline().unwrap().0 / 1_000_000 + 1);
            node.tick(now);
        }
    }
    assert_eq!(node.ended(), Some(TermEnd::Lapsed));
    assert!(now < 9_600);
}

#[test]
fn a_lapsed_lease_is_noticed_before_the_answer_that_would_have_renewed_it() {
    let mut node = Node::leading(true);
    node.tick(3_334);
    let ask = node.asked();
    node.input(9_500, |l, now, steps| {
        l.on_renewed(ask, Generation(5), now, steps)
    });
    assert_eq!(node.ended(), Some(TermEnd::Lapsed));
    assert_eq!(node.leadership.term(), None);
}

#[test]
fn an_answer_to_another_ask_renews_nothing() {
    let mut node = Node::leading(true);
    node.tick(3_334);
    let ask = AskId(node.asked().0 - 1);
    node.input(4_000, |l, now, steps| {
        l.on_renewed(ask, Generation(5), now, steps)
    });
    assert_eq!(node.leadership.trusted_until(), Some(at(9_500)));
}

#[test]
fn an_unknown_take_is_read_and_taken_above_its_own_row() {
    let mut node = Node::new(false);
    node.tick(0);
    let ask = node.asked();
    node.input(100, |l, now, steps| l.on_take_unknown(ask, now, steps));
    assert!(node.leadership.term().is_none() && node.takes().is_none());
    node.tick(1_000);
    assert!(node.reads());
    let ask = node.asked();
    node.input(1_001, |l, now, steps| {
        l.on_lease_read(ask, &row("me", 6, Duration::from_secs(9)), now, steps);
    });
    assert_eq!(node.takes(), Some((Generation(6), Some(Generation(6)))));
    assert_eq!(node.leadership.term(), None);
}

#[test]
fn a_take_that_is_answered_after_its_lease_is_taken_anew() {
    let mut node = Node::leading(true);
    node.input(10, |l, now, steps| l.on_doubt(now, steps));
    let ask = node.asked();
    node.input(9_510, |l, now, steps| {
        l.on_taken(ask, Generation(6), now, steps)
    });
    assert_eq!(node.leadership.term(), None);
    node.tick(10_300);
    assert_eq!(node.takes(), Some((Generation(6), Some(Generation(6)))));
}

#[test]
fn a_late_grant_of_a_take_given_up_is_not_leadership() {
    let mut node = Node::new(false);
    node.tick(0);
    let ask = node.asked();
    node.tick(10_000);
    node.input(10_001, |l, now, steps| {
        l.on_taken(ask, Generation(3), now, steps)
    });
    assert_eq!(node.leadership.term(), None);
}

#[test]
fn doubt_takes_a_new_generation_at_once() {
    let mut node = Node::leading(true);
    node.input(100, |l, now, steps| l.on_doubt(now, steps));
    assert_eq!(node.ended(), Some(TermEnd::Doubt));
    assert_eq!(node.takes(), Some((Generation(5), Some(Generation(5)))));
}

#[test]
fn doubts_in_quick_succession_are_slowed_down() {
    let mut node = Node::leading(true);
    node.input(100, |l, now, steps| l.on_doubt(now, steps));
    let ask = node.asked();
    node.input(101, |l, now, steps| {
        l.on_taken(ask, Generation(6), now, steps)
    });
    node.input(102, |l, now, steps| l.on_doubt(now, steps));
    assert_eq!(node.takes(), None);
    assert!(node.leadership.next_deadline().unwrap() <= at(800));
    node.tick(800);
    assert!(node.takes().is_some());
}

#[test]
fn a_higher_generation_ends_the_term_and_is_taken_above() {
    let mut node = Node::leading(true);
    node.input(100, |l, now, steps| {
        l.on_peer_generation(Generation(5), now, steps)
    });
    assert_eq!(node.ended(), None);
    node.input(100, |l, now, steps| {
        l.on_peer_generation(Generation(9), now, steps)
    });
    assert_eq!(
        node.ended(),
        Some(TermEnd::Outnumbered { by: Generation(9) })
    );
    assert_eq!(node.takes(), Some((Generation(9), Some(Generation(5)))));
    let ask = node.asked();
    node.input(101, |l, now, steps| {
        l.on_taken(ask, Generation(10), now, steps)
    });
    assert_eq!(node.leadership.term(), Some(Generation(10)));
}

#[test]
fn a_take_below_what_was_heard_meanwhile_is_not_leadership() {
    let mut node = Node::new(false);
    node.tick(0);
    let ask = node.asked();
    node.input(1, |l, now, steps| {
        l.on_peer_generation(Generation(9), now, steps)
    });
    node.input(2, |l, now, steps| {
        l.on_taken(ask, Generation(9), now, steps)
    });
    assert_eq!(node.leadership.term(), None);
}

#[test]
fn a_generation_that_no_history_reaches_is_not_believed() {
    let mut node = Node::leading(true);
    for absurd in [u64::MAX, 1 << 62, i64::MAX.cast_unsigned()] {
        node.input(100, |l, now, steps| {
            l.on_peer_generation(Generation(absurd), now, steps)
        });
        node.input(100, |l, now, steps| {
            l.on_leader_resigned(Generation(absurd), now, steps)
        });
    }
    assert_eq!(node.leadership.term(), Some(Generation(5)));
    assert_eq!(node.leadership.heard(), Generation(5));
}

#[test]
fn a_deaf_leader_resigns_after_one_ttl_and_leaves_the_lease_for_another() {
    let mut node = Node::leading(true);
    node.tick(3_334);
    let ask = node.asked();
    node.input(3_340, |l, now, steps| {
        l.on_renewed(ask, Generation(5), now, steps)
    });
    node.tick(7_000);
    let ask = node.asked();
    node.input(7_010, |l, now, steps| {
        l.on_renewed(ask, Generation(5), now, steps)
    });
    node.tick(9_999);
    assert_eq!(node.ended(), None);
    node.tick(10_000);
    assert_eq!(node.ended(), Some(TermEnd::Deaf));
    assert!(node.steps.contains(&Step::Resign {
        generation: Generation(5)
    }));
    node.tick(19_999);
    assert_eq!(node.takes(), None);
    node.tick(20_000);
    assert!(node.takes().is_some());
}

#[test]
fn a_deaf_leader_that_hears_itself_again_need_not_wait() {
    let mut node = Node::leading(true);
    node.input(100, |l, now, steps| l.on_doubt(now, steps));
    let ask = node.asked();
    node.input(101, |l, now, steps| {
        l.on_taken(ask, Generation(6), now, steps)
    });
    node.tick(3_500);
    let ask = node.asked();
    node.input(3_600, |l, now, steps| {
        l.on_renewed(ask, Generation(6), now, steps)
    });
    node.tick(10_000);
    assert_eq!(
        node.ended(),
        Some(TermEnd::Deaf),
        "doubt does not make anybody hear"
    );
    node.hear();
    assert!(node.takes().is_some());
}

#[test]
fn without_ha_a_deaf_leader_leads_on() {
    let mut node = Node::leading(false);
    for step in 1..20 {
        node.tick(step * 3_334);
        let ask = node.asked();
        node.input(step * 3_334, |l, now, steps| {
            l.on_renewed(ask, Generation(5), now, steps)
        });
    }
    assert_eq!(node.leadership.term(), Some(Generation(5)));
}

#[test]
fn a_deaf_candidate_leaves_a_free_lease_to_others_for_one_ttl() {
    for resigned in [false, true] {
        let mut node = Node::new(true);
        node.tick(0);
        let ask = node.asked();
        let free = LeaseRow {
            resigned,
            ..row("other", 4, Duration::ZERO)
        };
        node.input(5, |l, now, steps| l.on_lease_read(ask, &free, now, steps));
        node.tick(10_004);
        assert_eq!(node.takes(), None);
        node.tick(10_005);
        assert_eq!(node.takes(), Some((Generation(4), None)));
    }
}

#[test]
fn a_candidate_that_hears_itself_takes_soon_after_the_lease_ends() {
    let mut node = Node::new(true);
    node.tick(0);
    let ask = node.asked();
    let held = row("other", 4, Duration::from_secs(2));
    node.input(0, |l, now, steps| l.on_lease_read(ask, &held, now, steps));
    node.tick(1_999);
    node.hear();
    assert_eq!(node.takes(), None);
    let due = node.leadership.next_deadline().unwrap();
    assert!((at(2_000)..=at(2_100)).contains(&due));
    node.tick(2_101);
    assert_eq!(node.takes(), Some((Generation(4), None)));
}

#[test]
fn a_resignation_is_taken_at_once_whatever_was_read_before() {
    let mut node = Node::new(true);
    node.tick(0);
    node.hear();
    let stale = node.asked();
    node.input(10, |l, now, steps| {
        l.on_leader_resigned(Generation(4), now, steps)
    });
    assert_eq!(node.takes(), Some((Generation(4), None)));
    let take = node.asked();
    let held = row("other", 4, Duration::from_secs(9));
    node.input(11, |l, now, steps| {
        l.on_lease_read(stale, &held, now, steps)
    });
    // The take met the row before the resignation did.
    node.input(12, |l, now, steps| l.on_refused(take, &held, now, steps));
    node.tick(700);
    assert!(node.takes().is_some());
}

#[test]
fn a_lost_renewal_ends_the_term() {
    let mut node = Node::leading(true);
    node.input(50, |l, now, steps| {
        l.on_renewal_refused(Generation(4), now, steps)
    });
    assert_eq!(node.ended(), None);
    node.input(50, |l, now, steps| {
        l.on_renewal_refused(Generation(5), now, steps)
    });
    assert_eq!(node.ended(), Some(TermEnd::Lost));
    assert!(node.reads());
}

#[test]
fn without_ha_being_fenced_by_another_ends_the_process() {
    let mut node = Node::leading(false);
    node.input(50, |l, now, steps| l.on_fenced(Generation(5), now, steps));
    assert_eq!(node.ended(), Some(TermEnd::Fenced));
    let ask = node.asked();
    let taken = row("other", 6, Duration::from_secs(9));
    node.input(60, |l, now, steps| l.on_lease_read(ask, &taken, now, steps));
    assert_eq!(
        node.steps,
        [Step::Exit {
            why: ExitReason::FencedWithoutHa
        }]
    );
    assert_eq!(node.leadership.next_deadline(), None);
    assert_eq!(node.tick(100_000), []);
}

#[test]
fn without_ha_being_fenced_by_an_orphaned_take_of_ones_own_does_not() {
    let mut node = Node::leading(false);
    node.input(50, |l, now, steps| l.on_fenced(Generation(5), now, steps));
    let ask = node.asked();
    let own = row("me", 6, Duration::from_secs(9));
    node.input(60, |l, now, steps| l.on_lease_read(ask, &own, now, steps));
    assert_eq!(node.takes(), Some((Generation(6), Some(Generation(6)))));
}

#[test]
fn stopping_resigns_once_and_takes_nothing_again() {
    let mut node = Node::leading(true);
    let generation = Generation(5);
    let ended = Step::TermEnded {
        generation,
        why: TermEnd::Resigned,
    };
    assert_eq!(
        node.input(50, Leadership::resign),
        [ended, Step::Resign { generation }]
    );
    assert_eq!(node.input(51, Leadership::resign), []);
    node.input(52, |l, _, steps| l.on_resigned(generation, steps));
    assert_eq!(node.steps, [Step::Announce { generation }]);
    assert_eq!(node.tick(100_000), []);
}

#[test]
fn a_lease_granted_while_stopping_is_given_back() {
    let mut node = Node::new(false);
    node.tick(0);
    let ask = node.asked();
    node.input(1, Leadership::resign);
    node.input(2, |l, now, steps| {
        l.on_taken(ask, Generation(3), now, steps)
    });
    assert_eq!(
        node.steps,
        [Step::Resign {
            generation: Generation(3)
        }]
    );
}
