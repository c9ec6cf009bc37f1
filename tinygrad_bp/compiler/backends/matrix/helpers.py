"""Helpers: functions that the array API standard lacks, as source to print with what calls them.

The error function as Chebyshev series, computed in 50 digits: of exp(x * x) * erfc(x) / t by t = 2 / (2 + x)
for x >= 0, where it is smooth to infinity, and of erf(x) / x by x * x below 1.  Read writing.py next.
"""

SERIES = '''\
def series(coefficients, u):
    """A Chebyshev series at u, from -1 to 1 (Clenshaw's recurrence)."""
    b, c = 0.0 * u, 0.0 * u
    for a in coefficients[:0:-1]:
        b, c = a + 2.0 * u * b - c, b
    return coefficients[0] + u * b - c'''

ERFC = '''\
ERFC = [
    0.5770337386164697, 0.3554369212704985, 0.06509515882878653, 0.003671142395836639,
    -0.0011128447433526325, -0.0001607582991537808, 3.278031574173137e-05, 5.442441645505016e-06,
    -1.5154665553171482e-06, -1.4297608181169865e-07, 8.234608827419493e-08,
    -1.2962846852306563e-09, -4.154721631015199e-09, 6.347058278362811e-10, 1.4320822812256225e-10,
    -6.160390105204585e-11, 2.0612138554721698e-12, 3.5714931488477042e-12, -8.586422843251795e-13,
    -6.145600213790647e-14, 7.418725748596632e-14, -1.2895042755032477e-14, -2.358726385710482e-15,
    1.572934938168442e-15, -2.27829662395317e-16, -6.312330450771045e-17, 3.591676353195951e-17,
]


def erfc(xp, x):
    """1 - erf(x), with all its digits where it is small."""
    size = xp.abs(x)
    t = 2.0 / (2.0 + size)
    tail = t * xp.exp(-size * size) * series(ERFC, 2.0 * t - 1.0)
    return xp.where(x < 0, 2.0 - tail, tail)'''

ERF = '''\
ERF = [
    0.9754769393826541, -0.14226120510371365, 0.010035582187599796, -0.0005768764699767485,
    2.741993125219606e-05, -1.1043175507344507e-06, 3.8488755420345036e-08, -1.1808582533875466e-09,
    3.2334215826050907e-11, -7.991015947004549e-13, 1.7990725113961456e-14, -3.718635487818693e-16,
]


def erf(xp, x):
    """The error function."""
    small = xp.where(xp.abs(x) < 1, x, 0.0 * x)
    return xp.where(xp.abs(x) < 1, small * series(ERF, 2.0 * small * small - 1.0), 1.0 - erfc(xp, x))'''
