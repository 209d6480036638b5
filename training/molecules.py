# ruff: noqa: E501 (SMILES read better in long lines)
"""The molecules that the bundled potential is trained and tested on: neutral, closed-shell H, C, N, O.

Everything is written down here or built by the rules below, so that the set is the same everywhere and needs
nothing but RDKit.  Each molecule belongs to one class, by which errors are reported and by which the split is
stratified.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from rdkit import Chem, RDLogger

RDLogger.DisableLog("rdApp.*")

#: Fraction of the molecules of every class that no training step ever sees.
TEST_FRACTION = 0.11
#: Fraction of the molecules of every class used to choose among checkpoints, and for nothing else.
VALIDATION_FRACTION = 0.04
MAX_ATOMS = 44

HYDROCARBON = """
C CC CCC CCCC CC(C)C CCCCC CC(C)CC CC(C)(C)C CCCCCC C1CC1 C1CCC1 C1CCCC1 C1CCCCC1 CC1CC1 CC1CCCCC1 C=C C=CC C=CCC
C/C=C/C C/C=C\\C CC(C)=C CC(C)=C(C)C C=CC=C C=C(C)C=C C=CCC=C C=C=C C#C CC#C CC#CC C=CC#C C1=CCC1 C1=CCCC1 C1=CCCCC1
C1=CCC=C1 C1=CCC=CC1 C1C=C1 C1CC2CCC1C2 C1CC2CC2C1 C=C1CC1 C#CC#C CCC#C C1CCCCCC1 CCCCCCC CCC(C)CC C=C1CCCC1 CC1=CCCCC1
C1CC1C1CC1 C1CC12CC2 CCCCCCCC CC(C)C(C)C C1CC2CCC1CC2
"""
AROMATIC = """
c1ccccc1 Cc1ccccc1 CCc1ccccc1 C=Cc1ccccc1 C#Cc1ccccc1 Cc1ccccc1C Cc1cccc(C)c1 Cc1ccc(C)cc1 CC(C)c1ccccc1 c1ccc2ccccc2c1
C1Cc2ccccc21 C1Cc2ccccc2C1 C1CCc2ccccc2C1 c1ccc(-c2ccccc2)cc1 c1ccc2c(c1)Cc1ccccc1-2 c1ccc(C2CC2)cc1 C1=Cc2ccccc2C1
Oc1ccccc1 Nc1ccccc1 COc1ccccc1 CNc1ccccc1 CN(C)c1ccccc1 N#Cc1ccccc1 O=Cc1ccccc1 CC(=O)c1ccccc1 OC(=O)c1ccccc1 NC(=O)c1ccccc1
COC(=O)c1ccccc1 O=[N+]([O-])c1ccccc1 OCc1ccccc1 NCc1ccccc1 Oc1ccccc1O Oc1cccc(O)c1 Oc1ccc(O)cc1 Nc1ccccc1O Nc1cccc(N)c1 Nc1ccc(O)cc1
Cc1ccc(O)cc1 COc1ccccc1O COc1ccc(C=O)cc1 Oc1ccccc1C=O Nc1ccccc1C(=O)O Cc1ccccc1N NCCc1ccccc1 OCCc1ccccc1 C=CCc1ccccc1
CC(=O)Nc1ccccc1 CC(=O)Oc1ccccc1 CNC(=O)c1ccccc1 O=C(O)Cc1ccccc1 NC(=O)Cc1ccccc1 N#CCc1ccccc1 c1ccc(Oc2ccccc2)cc1 c1ccc(Nc2ccccc2)cc1
CC=Cc1ccccc1 OC=Cc1ccccc1 O=C(O)C=Cc1ccccc1 Nc1ccc(C#N)cc1 Nc1ccc([N+](=O)[O-])cc1 Cc1ccc([N+](=O)[O-])cc1 COc1ccc(OC)cc1
CC(O)c1ccccc1 CC(N)c1ccccc1 Oc1ccc(C#N)cc1 COc1cccc(C)c1 CCOc1ccccc1 NNc1ccccc1 ONc1ccccc1 c1ccc(N=Nc2ccccc2)cc1 N=C(N)c1ccccc1
C(=Nc1ccccc1)c1ccccc1 ON=Cc1ccccc1 O=C1CCc2ccccc21 O=C1OCc2ccccc21 O=C1NCc2ccccc21 c1ccc2c(c1)OCO2 c1ccc2c(c1)OCCO2 c1ccc2c(c1)CCO2
c1ccc2c(c1)CCN2 O=C1C=CC(=O)C=C1 O=C1NC(=O)c2ccccc21
"""
HETEROAROMATIC = """
c1cc[nH]c1 c1ccoc1 c1cnc[nH]1 c1cn[nH]c1 c1cocn1 c1conc1 c1ccncc1 c1cncnc1 c1cnccn1 c1ccnnc1 c1c[nH]nn1 c1nc[nH]n1 c1nnn[nH]1 c1nnco1
c1ncon1 c1cnno1 Cn1cccc1 Cc1ccc[nH]1 Cc1cc[nH]c1 Cc1ccco1 Cc1ccoc1 Cn1ccnc1 Cc1cnc[nH]1 Cc1ncc[nH]1 Cn1cccn1 Cc1cc[nH]n1 Cc1cnoc1 Cc1ccon1
Cc1cnco1 Cc1ccncc1 Cc1cccnc1 Cc1ccccn1 Oc1ccncc1 O=c1cc[nH]cc1 O=c1cccc[nH]1 Oc1ccccn1 Oc1cccnc1 Nc1ccccn1 Nc1cccnc1 Nc1ccncc1 COc1ccccn1
N#Cc1cccnc1 NC(=O)c1cccnc1 OC(=O)c1cccnc1 O=Cc1ccccn1 O=Cc1ccco1 O=Cc1ccc[nH]1 OC(=O)c1ccco1 OCc1ccco1 Nc1ncccn1 Cc1ccncn1 Oc1ccncn1
Nc1ccncn1 c1ncncn1 Nc1ncncn1 c1ccc2[nH]ccc2c1 c1ccc2occc2c1 c1ccc2[nH]cnc2c1 c1ccc2[nH]ncc2c1 c1ccc2ocnc2c1 c1ccc2ncccc2c1 c1ccc2cnccc2c1
c1ccc2nccnc2c1 c1ccc2ncncc2c1 c1ccc2cnncc2c1 c1ncc2[nH]cnc2n1 c1ccn2ccnc2c1 c1cnc2[nH]ccc2c1 Cc1c[nH]c2ccccc12 Cn1ccc2ccccc21 Nc1ncnc2[nH]cnc12
Nc1cc[nH]c(=O)n1 O=c1cc[nH]c(=O)[nH]1 Cc1c[nH]c(=O)[nH]c1=O Nc1nc2[nH]cnc2c(=O)[nH]1 O=c1[nH]cnc2[nH]cnc12 Cn1cnc2c1c(=O)n(C)c(=O)n2C
Cn1cc(C)c(=O)[nH]c1=O Cn1ccc(N)nc1=O Cn1cnc2c(N)ncnc21 Cn1ccc(=O)[nH]c1=O O=c1cc[nH]n1C Cc1cc(C)[nH]n1 Cc1cc(C)on1 Cc1nc(C)no1 Cc1nnc(C)o1
Cc1nn[nH]n1 Nc1nn[nH]n1 Nc1nnc[nH]1 NCc1ccco1 NCc1cccnc1 NCCc1cnc[nH]1 OCc1cccnc1 CC(=O)c1cccnc1 CC(=O)c1ccco1 CC(=O)c1ccc[nH]1 c1ccc(-c2ccccn2)nc1
c1ccc(-c2ccco2)cc1 c1ccc(-n2ccnc2)cc1 c1ccc(-c2nnco2)cc1 c1ccc(-c2ccn[nH]2)cc1 CNc1ccccn1 CN(C)c1ccncc1 O=c1ccocc1 O=c1cccco1 O=c1ccc2ccccc2o1
O=C1C=CNC=C1 [O-][n+]1ccccc1 Nc1noc(C)n1 Nc1ncc[nH]1 Cc1cnccn1 Cc1ccnnc1 COc1cnccn1 C=Cc1ccccn1 C#Cc1cccnc1 O=[N+]([O-])c1ncc[nH]1
O=[N+]([O-])c1ccco1 c1ccc2nonc2c1 Cc1ccc(C)o1 Cc1ccc(C)[nH]1 Nc1c[nH]cn1 OC(=O)c1cnc[nH]1 COC(=O)c1ccco1 NC(=O)c1ccco1 NC(=O)c1cnccn1 NC(=O)c1cc[nH]c1
Cn1c(=O)[nH]c2nc[nH]c2c1=O Cc1cc(=O)[nH]c(=O)[nH]1 O=c1ccnc[nH]1 O=c1cn[nH]cc1 Cc1noc(=O)[nH]1 O=C1NN=CO1
"""
HETEROCYCLE = """
C1CN1 C1CO1 C1CNC1 C1COC1 C1CCNC1 C1CCOC1 C1CCNCC1 C1CCOCC1 C1CNCCN1 C1COCCN1 C1COCCO1 C1OCCO1 C1OCOCO1 CN1CCCC1 CN1CCCCC1 CN1CCOCC1
CN1CCNCC1 CC1CO1 CC1CN1 CN1CC1 OC1CCNC1 OC1CCOC1 OC1CCNCC1 OC1CCCNC1 NC1CCNCC1 NC1CCOC1 O=C1CCCN1 O=C1CCN1 O=C1CCCCN1 O=C1CCCO1 O=C1CCO1 O=C1CCCCO1
O=C1CCC(=O)N1 O=C1CCC(=O)O1 O=C1C=CC(=O)N1 O=C1C=CC(=O)O1 O=C1CNC(=O)N1 O=C1NC(=O)C(=O)N1 O=C1NCCN1 O=C1OCCN1 O=C1OCCO1 O=C1COCCN1 O=C1CNCCN1 O=C1CNC(=O)CN1
C1=CCNC1 C1=COCC1 C1=CNCC1 C1=COC=CO1 C1=NCCN1 C1=NCCO1 C1=NCCC1 C1CNCN1 C1CNNC1 C1CCONC1 C1CONC1 CC1CCCO1 CC1CCCN1 CN1CCCC1=O CC(=O)N1CCCC1 CC(=O)N1CCCCC1
CC(=O)N1CCOCC1 O=CN1CCCC1 O=CN1CCOCC1 OC1COC1 NC1COC1 OCC1CCCO1 OCC1CCCN1 OC(=O)C1CCCN1 NC(=O)C1CCCN1 OC(=O)C1CCNCC1 NC(=O)C1CCNCC1 OC1CCCO1 OC1CCCCO1 COC1CCCO1
OCC1OCC(O)C1O OCC1OC(O)C(O)C1O OC1COC(O)C(O)C1O C1CC2CCC1N2 C1CN2CCC1CC2 C1CN2CCN1CC2 C1CC2OC2C1 O=C1CCNCC1 O=C1CCOCC1 O=C1CCOC1 O=C1CCCNC1 C1COCCOCCO1 N1CCNCCNCC1
CC1OCCO1 CC1(C)OCCO1 O=C1NCCCN1 O=C1CC(=O)NC(=O)N1 CC1CNCCN1 CC1COCCN1 O=C1CC(O)CN1 O=C1OCC=C1 O=C1C=CCN1 O=C1C=CCCO1 C1CCNNC1 C1CCC2(C1)OCCO2 C1CCC(N2CCCC2)CC1
"""
ALCOHOL = """
O CO CCO CCCO CC(C)O CCCCO CC(C)CO CCC(C)O CC(C)(C)O OCCO OCCCO CC(O)CO OCC(O)CO C=CCO C#CCO CC=CCO OC1CC1 OC1CCC1 OC1CCCC1 OC1CCCCC1 OCC1CC1 OCC=CCO
OC1CCCC1O OC1CCCCC1O CC(O)C(C)O CCCCCO OCC(CO)CO C=CC(C)O C=CO C=C(C)O OO COO OCC(O)C(O)CO CC(C)(O)CO OCC#CCO OC1CC=CC1 CC(O)C#C OCCCCO OC1CCC(O)CC1
"""
ETHER = """
COC CCOC CCOCC COCCO COCCOC COCOC CC(C)OC COC(C)(C)C C=COC C=COCC C#COC COC1CC1 COCC=C CCCOC COCC#C COCCOCCO COC(C)CO OCCOCCO COOC COC(OC)OC COC1CCCC1 COC1CCCCC1
C=COC=C CCOCCO CCCOCC CC(OC)OC COC=CC COCC1CC1 CC(C)OC(C)C COCCCO
"""
AMINE = """
N CN CCN CNC CN(C)C CCCN CC(C)N CCNC CCNCC CCN(C)C CC(C)(C)N CCCCN NCCN NCCCN NC1CC1 NC1CCC1 NC1CCCC1 NC1CCCCC1 NCC1CC1 C=CCN C#CCN CN(C)CC#C NCCO NCCCO CNCCO CN(C)CCO
CC(N)CO NCC(O)CO NCC(N)C NN CNN CN(C)N CNNC NO CNO CON CN(C)O C=NC CC=NC C=N CC(C)=NC N=CN CN=CN CC(=N)N NC(=N)N CNC(=N)N NC=C CNC=C CN(C)C=C C=CN NCCNC CN(C)CCN OCCNCCO NCCOC
NCCCCN CCN(CC)CC COCCN NCC#N CN=NC N=N CN=C=O N=C=N CN(C)C=N CC(N)C#C C1CCC(=N)CC1 CC(=NO)C C=NO CC=NO CON=C CC(C)=NN NN=CC NCC=CCN CC(=NC)C NC(=N)NN CN(C)C(=N)N NCC(C)(C)N
"""
ACID = """
O=CO CC(=O)O CCC(=O)O CCCC(=O)O CC(C)C(=O)O C=CC(=O)O C=C(C)C(=O)O C#CC(=O)O CC=CC(=O)O OC(=O)C(=O)O OC(=O)CC(=O)O OC(=O)CCC(=O)O OC(=O)C=CC(=O)O OCC(=O)O CC(O)C(=O)O NCC(=O)O CC(N)C(=O)O
CC(=O)C(=O)O O=CC(=O)O COCC(=O)O OCCC(=O)O NCCC(=O)O NCCCC(=O)O CNCC(=O)O CN(C)CC(=O)O N#CCC(=O)O CC(C)(C)C(=O)O OC(=O)C1CC1 OC(=O)C1CCC1 OC(=O)C1CCCC1 CC(=O)CC(=O)O OC(=O)CC(O)C(=O)O OC(C(=O)O)C(O)C(=O)O
CCCCC(=O)O NC(CO)C(=O)O NC(=O)C(=O)O NC(=O)CC(=O)O CC(=O)OO CC(C)CC(=O)O C=CCC(=O)O CC(O)CC(=O)O NC(CC(=O)O)C(=O)O CC(C)C(N)C(=O)O OC(=O)C1CCCCC1 CNC(=O)O
"""
ESTER = """
COC=O CCOC=O CC(=O)OC CCC(=O)OC CC(=O)OCC CC(=O)OC(C)C CC(=O)OC=C C=CC(=O)OC C=C(C)C(=O)OC COC(=O)OC COC(=O)C(=O)OC COC(=O)CC(=O)OC COC(=O)CO COC(=O)CN COC(=O)C(C)N COC(=O)C(C)O CC(=O)OCCO CC(=O)OC(C)=O
CC(=O)CC(=O)OC COC(=O)C#N COC(=O)C1CC1 CCCC(=O)OC CC(C)C(=O)OC CC(=O)OC(C)(C)C CC(=O)OCC=C COC(=O)C=CC COC(=O)CC#N COC(=O)C#C COC(=O)CCO COC(=O)CCN CC(=O)OCCN COC(=O)C(C)=O CCOC(=O)CC CCOC(=O)OCC O=COC=O O=COC=C COC(=O)COC CC(=O)OCC(C)=O COC(=O)CCC(=O)OC CC(=O)OC1CCCC1
COC(=O)c1ccc(O)cc1
"""
AMIDE = """
NC=O CNC=O CN(C)C=O CC(N)=O CC(=O)NC CC(=O)N(C)C CCC(N)=O CCC(=O)NC CCNC(C)=O CCNC=O C=CC(N)=O C=CC(=O)NC CC(C)C(N)=O NC(N)=O CNC(N)=O CNC(=O)NC CN(C)C(N)=O COC(N)=O COC(=O)NC CCOC(N)=O CC(=O)NO CC(=O)NN NC(=O)C(N)=O
NC(=O)CC(N)=O CC(=O)NC(C)=O NCC(N)=O CC(N)C(N)=O CC(O)C(N)=O OCC(N)=O CC(=O)NCCO CC(=O)NCCN CC(=O)NCC=C CC(=O)NC1CC1 NC(=O)C1CC1 N#CCC(N)=O CC(=O)C(N)=O CNC(=O)C(=O)NC NC(=O)NN NC(=O)NO CC(=O)NC(C)C CC(=O)NCC#C CC(=O)NC=C CC(=O)NCC(N)=O
CC(C)(C)C(N)=O CCCC(N)=O CNC(=O)C=CC NCC(=O)NC CC(=O)NCC(=O)O CC(=O)NCOC CNC(=O)CO COCC(N)=O CC(=O)NCC#N O=CNC=O NC(=O)CCC(N)=O CNC(=O)CC(=O)NC CN(C)C(=O)N(C)C CON(C)C=O CC(=O)N(C)OC CNC(=O)CCN O=CNCCO NC(=O)C=CC(N)=O NC(=O)C#C CNC(=O)C1CC1
"""
CARBONYL = """
C=O CC=O CCC=O CC(C)=O CCC(C)=O CCC(=O)CC C=CC=O C=CC(C)=O CC=CC=O O=CC=O CC(=O)C=O CC(=O)C(C)=O CC(=O)CC(C)=O CC(O)=CC(C)=O O=C1CC1 O=C1CCC1 O=C1CCCC1 O=C1CCCCC1 O=C1C=CCC1 O=C1C=CCCC1 OCC=O CC(=O)CO COCC=O NCC=O NCC(C)=O C#CC=O
C#CC(C)=O C=C=O CC(C)C=O CC(=O)C1CC1 O=CC1CC1 O=CCC=O O=CCCC=O CC(=O)CCC(C)=O CC(=O)C=C(C)C OCCC=O CC(=O)CCO CC(=O)C#N O=C=O CC(C)C(C)=O CC(C)(C)C=O O=C1CCC(=O)C1 CC(C)(C)C(C)=O O=CC=CC=O COC=CC=O NC=CC=O CNC=CC(C)=O
C#N CC#N CCC#N C=CC#N N#CCC#N N#CC#N C[N+](=O)[O-] CC[N+](=O)[O-] C[N+]#[C-] CCCC#N CC(C)C#N N#CCO N#CCCO N#CC1CC1 N#CC=CC N#CCCC#N CO[N+](=O)[O-] C=C[N+](=O)[O-] CON=O C[N+](C)(C)[O-] CN=[N+]=[N-] CC(O)C#N CC(N)C#N NC#N CNC#N CN(C)C#N COC#N CC(C)[N+](=O)[O-] N#CCCCO
N#CC(=O)C OCC[N+](=O)[O-] NC=CC#N NC=C[N+](=O)[O-] C=[N+]=[N-]
"""
DRUGLIKE = """
CC(=O)Nc1ccc(O)cc1 CC(=O)Oc1ccccc1C(=O)O OC(=O)c1ccccc1O CN1CCCC1c1cccnc1 CCOC(=O)c1ccc(N)cc1 NCCc1ccc(O)c(O)c1 NCCc1c[nH]c2ccc(O)cc12 NCCc1c[nH]c2ccccc12 CC(N)Cc1ccccc1 CNC(C)C(O)c1ccccc1 CC(C)Cc1ccc(C)cc1
CC(Cc1ccccc1)NC COc1cc(C=O)ccc1O COc1cc(CC=C)ccc1O OC(=O)C=Cc1ccc(O)c(O)c1 CCOc1ccc(NC(C)=O)cc1 NC(=O)c1cnccn1 NNC(=O)c1ccncc1 NC(=O)c1ccccc1O CC(C)NCC(O)COc1ccccc1 Cc1ccc(C(=O)C(C)N)cc1 CN(C)CCOC(=O)c1ccccc1
CCN(CC)CC(=O)Nc1c(C)cccc1C CC(C)Cc1ccc(C(C)C(=O)O)cc1 COC(=O)c1cccnc1 CN1CCC(c2ccccc2)CC1 O=C(Nc1ccccc1)c1ccccc1 CCC1(CC)C(=O)NC(=O)NC1=O CCC1(c2ccccc2)C(=O)NC(=O)NC1=O O=C1NC(=O)C(c2ccccc2)N1 Cn1c(=O)c2[nH]cnc2n(C)c1=O Cn1c(=O)c2c(ncn2C)[nH]c1=O
CC1=CC(=O)NN1 Cc1cc(=O)n(C)n1C CN1C=CC(=O)NC1=O Cc1ncc(CO)c(CO)c1O NC(=O)c1ccc[n+]([O-])c1 CC(C)C(=O)Nc1ccccc1 O=C(O)c1ccc(O)c(O)c1 CC(O)CNC(=O)c1ccccc1 OCC(N)c1ccccc1 NC(Cc1ccccc1)C(=O)O NC(Cc1c[nH]cn1)C(=O)O COc1ccc(CCN)cc1 Cc1ccc(C(=O)NCCO)cc1 CN(C)Cc1ccccc1
O=C(NCc1ccccc1)C1CC1 CC(=O)N1CCNCC1 c1ccc(CN2CCNCC2)cc1 c1ccc(N2CCOCC2)cc1 c1ccc(C2CCNCC2)cc1 O=C(c1ccccc1)N1CCOCC1 Cc1onc(C(N)=O)c1C NC(=O)N1CCCC1 CC(C)(C)NCC(O)c1ccccc1 CC1(C)OC(=O)NC1=O COCCNC(=O)c1ccccn1 O=C(O)c1cc(O)cc(O)c1 CCCNC(=O)Nc1ccccc1 CNC(=O)Oc1ccccc1
CNC(=O)Nc1ccccc1 COC(=O)Nc1ccccc1 CC(C)Oc1ccccc1C=O N#Cc1ccc(O)cc1 Nc1ccn(C2CCCO2)c(=O)n1 O=c1ccn(C2CCCO2)c(=O)[nH]1 NCC1CC(O)CN1 CCN1CCCC1CO CN1CCN(C)CC1 Oc1ccc(CC2CC2)cc1 CC(CN)c1ccccc1 N#CC(C#N)=Cc1ccccc1 CN(N=O)C CN(C)N=O O=NN1CCOCC1 Nc1nc(N)nc(N)n1
Cc1nc(N)nc(N)n1 CNc1ncnc2[nH]cnc12 Nc1ccc(C(N)=O)cc1 CC(=O)NC1CCCCC1 OC1CCN(C)C1 CCOC(=O)CC(C)=O COc1ccc2[nH]ccc2c1 COc1ccc2[nH]cc(C)c2c1 CC(=O)NCCc1cnc[nH]1 Oc1ccc2ccccc2c1 Oc1cccc2cccnc12 Nc1cccc2ccccc12 CN1C(=O)CN=Cc2ccccc21 O=C1CN=Cc2ccccc2N1 CC1=NN(C)C(=O)C1
"""

RESIDUES = {
    "GLY": "", "ALA": "C", "VAL": "C(C)C", "LEU": "CC(C)C", "ILE": "C(C)CC", "SER": "CO", "THR": "C(C)O", "ASN": "CC(N)=O",
    "GLN": "CCC(N)=O", "ASH": "CC(=O)O", "GLH": "CCC(=O)O", "LYN": "CCCCN", "ARN": "CCCNC(N)=N", "HID": "Cc1c[nH]cn1", "HIE": "Cc1cnc[nH]1",
    "PHE": "Cc1ccccc1", "TYR": "Cc1ccc(O)cc1", "TRP": "Cc1c[nH]c2ccccc12", "ABA": "CC", "NVA": "CCC", "DAB": "CCN", "ORN": "CCCN",
}  # fmt: skip
#: Residue pairs for the dipeptides; one of every kind is enough, since the single residues are all here.
PAIRS = "GLY-GLY GLY-ALA ALA-GLY ALA-ALA ALA-SER SER-ALA GLY-SER SER-GLY ALA-VAL GLY-THR ALA-ASN GLY-PRO PRO-GLY PRO-ALA ALA-PRO SER-SER GLY-ASH"
DIMERS = """
O.O O.O.O O.O.O.O O.O.O.O.O O.O.O.O.O.O CO.O CO.CO N.O N.N CN.O CNC.O COC.O C=O.O CC(C)=O.O O=CO.O CC(=O)O.O CC(=O)O.CC(=O)O O=CO.O=CO NC=O.O NC=O.NC=O CC(N)=O.O CC(=O)NC.O CC(=O)NC.CC(=O)NC CNC=O.CNC=O
CC(=O)NC.O.O NC(N)=O.O C#N.O CC#N.O Oc1ccccc1.O c1ccccc1.O c1ccccc1.C c1ccccc1.c1ccccc1 c1ccncc1.O c1cnc[nH]1.O c1cc[nH]c1.O c1ccoc1.O C.C C.O CC.CC C=C.O C#C.O CCO.O CCO.CCO O=c1cc[nH]c(=O)[nH]1.O O=c1cc[nH]c(=O)[nH]1.O=c1cc[nH]c(=O)[nH]1
Nc1ccccc1.O COC(C)=O.O CC(=O)NC.CO CC(=O)O.N CO.N CO.CN CN.CN CO.C=O CO.CC(N)=O CCN.O C1CCOC1.O C1CCNC1.O OCCO.O NCC(=O)O.O C[N+](=O)[O-].O c1ccccc1.N c1ccccc1.CO CO.O.O N.O.O O=CO.N CNC=O.O.O CC(C)=O.CC(C)=O CC#N.CC#N COC.COC C1CC1.C1CC1 O=C=O.O OO.O NN.O NO.O O=CO.CC(N)=O
NC(=N)N.O CC(=N)N.O CNC.CO c1ccncc1.CO c1ccncc1.CC(=O)O CC(=O)O.CO C=O.C=O NC=O.CO Oc1ccccc1.N Cc1ccccc1.O CC=O.O C#N.C#N c1cc[nH]c1.c1ccncc1 c1ccc2[nH]ccc2c1.O CCC.CCC CC(C)C.O Nc1cc[nH]c(=O)n1.O Nc1ncnc2[nH]cnc12.O
"""

SCAFFOLDS = {
    "propyl": "CCC{}", "isopropyl": "CC(C){}", "isobutyl": "CC(C)C{}", "tert-butyl": "CC(C)(C){}", "allyl": "C=CC{}", "propargyl": "C#CC{}", "cyclopropyl": "C1CC1{}",
    "cyclobutyl": "C1CCC1{}", "cyclopentyl": "C1CCCC1{}", "cyclohexyl": "C1CCCCC1{}", "benzyl": "c1ccccc1C{}", "phenyl": "c1ccccc1{}", "hydroxyethyl": "OCC{}",
    "methoxyethyl": "COCC{}", "aminoethyl": "NCC{}", "cyanoethyl": "N#CCC{}", "acetamidomethyl": "CC(=O)NC{}", "2-furyl": "c1ccoc1{}", "3-pyridyl": "c1cnccc1{}",
    "2-pyrrolyl": "c1cc[nH]c1{}", "4-hydroxyphenyl": "Oc1ccc(cc1){}", "3-tetrahydrofuryl": "C1CCOC1{}", "3-pyrrolidinyl": "C1CNCC1{}", "vinyl": "C=C{}", "carboxymethyl": "OC(=O)C{}",
}  # fmt: skip
GROUPS = {
    "O": "alcohol", "OC": "ether", "N": "amine", "NC": "amine", "N(C)C": "amine", "C=O": "carbonyl", "C(C)=O": "carbonyl", "C(=O)O": "acid", "C(=O)OC": "ester",
    "OC(C)=O": "ester", "C(N)=O": "amide", "C(=O)NC": "amide", "NC(C)=O": "amide", "C#N": "carbonyl", "NC(N)=O": "amide", "C(=O)CO": "carbonyl", "CCO": "alcohol",
    "C(O)C": "alcohol", "OCCO": "ether", "NCCO": "amine", "N1CCCC1": "heterocycle", "n1ccnc1": "heteroaromatic", "C=CC(C)=O": "carbonyl", "[N+](=O)[O-]": "carbonyl", "c1ccncc1": "heteroaromatic",
}  # fmt: skip
#: How many of the scaffold x group products are kept, chosen by a hash of their SMILES.
PRODUCTS = 260

#: Small molecules that are paired, by hash, into further dimers.
PARTNERS = "O CO N CN C=O CC=O O=CO CC(N)=O NC=O CNC=O COC C#N CC#N C C=C c1ccccc1 c1ccncc1 c1cnc[nH]1 c1cc[nH]c1 CC(=O)OC CC(=O)O CC(C)=O CN(C)C C[N+](=O)[O-] c1ccoc1 NC(N)=O"
PAIRED = 110

#: Dimers of rings, for stacking: always trained on, and their parts are molecules of the training set too.
STACKED = """
c1ccncc1.c1ccncc1 c1cncnc1.c1cncnc1 Cc1ccccc1.Cc1ccccc1 Cc1ccccc1.c1ccncc1 Oc1ccccc1.Oc1ccccc1 c1ccoc1.c1ccoc1 c1cc[nH]c1.c1cc[nH]c1 c1c[nH]cn1.c1c[nH]cn1 Cc1ccccc1.c1c[nH]cn1 N#Cc1ccccc1.Cc1ccccc1
Nc1ncnc2[nH]cnc12.Nc1ncnc2[nH]cnc12 Nc1ncnc2[nH]cnc12.O=c1cc[nH]c(=O)[nH]1 Nc1cc[nH]c(=O)n1.Nc1cc[nH]c(=O)n1 O=c1cc[nH]c(=O)[nH]1.Cc1ccccc1 c1ccc2[nH]ccc2c1.Cc1ccccc1 c1cnccn1.Cc1ccccc1 Cc1ccccc1.c1ccoc1 c1cncnc1.c1cc[nH]c1
c1cnccn1.c1cnccn1 c1ccncc1.c1cncnc1 N#Cc1ccccc1.N#Cc1ccccc1 Cc1ccccc1.Oc1ccccc1 Cc1ccccc1.c1ccc2ccccc2c1 c1ccncc1.c1ccc2ccccc2c1 c1ccc2[nH]ccc2c1.c1ccc2[nH]ccc2c1 c1ccncc1.c1cnccn1 Cc1ccccc1.c1cncnc1 c1ccoc1.c1ccncc1
"""

#: Names that must be trained on, because an example or a reference scan in the tests uses them as training data.
ALWAYS_TRAINED = ("CC(=O)NC(C)C(=O)NC", "O", "C", "N", "O.O", "CO", "CC(=O)NC")


@dataclass(frozen=True)
class Molecule:
    """One molecule (or cluster) of the set: its canonical SMILES, class and part of the split."""

    smiles: str
    group: str
    split: str

    @property
    def key(self) -> str:
        """A short name that is safe as a file name and never changes."""
        return f"{self.group}-{hashlib.sha256(self.smiles.encode()).hexdigest()[:10]}"

    @property
    def seed(self) -> int:
        """Seed of everything random about this molecule."""
        return int(hashlib.sha256(self.smiles.encode()).hexdigest()[:8], 16)


def peptides() -> list[str]:
    """List the SMILES of capped amino acids and capped dipeptides."""

    def residue(name: str, rest: str) -> str:
        if name == "PRO":
            return f"N1CCC[C@H]1C(=O){rest}"
        side = RESIDUES[name]
        return f"NCC(=O){rest}" if not side else f"N[C@@H]({side})C(=O){rest}"

    single = ["CC(=O)" + residue(name, "NC") for name in [*RESIDUES, "PRO"]]
    double = []
    for pair in PAIRS.split():
        first, second = pair.split("-")
        double.append("CC(=O)" + residue(first, residue(second, "NC")))
    return single + double


def products() -> list[tuple[str, str]]:
    """Choose scaffold x group products as (SMILES, class)."""
    every = []
    for scaffold in SCAFFOLDS.values():
        for group, name in GROUPS.items():
            smiles = scaffold.format(group)
            every.append((hashlib.sha256(smiles.encode()).hexdigest(), smiles, name))
    return [(smiles, name) for _, smiles, name in sorted(every)[:PRODUCTS]]


def pairs() -> list[str]:
    """Choose dimers of the small molecules."""
    names = PARTNERS.split()
    every = [f"{a}.{b}" for i, a in enumerate(names) for b in names[i:]]
    return sorted(every, key=lambda smiles: hashlib.sha256(smiles.encode()).hexdigest())[:PAIRED]


def _canonical(smiles: str) -> str | None:
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return None
    full = Chem.AddHs(molecule)
    if any(atom.GetAtomicNum() not in (1, 6, 7, 8) for atom in full.GetAtoms()) or full.GetNumAtoms() > MAX_ATOMS:
        return None
    return str(Chem.MolToSmiles(molecule, isomericSmiles=True))


def molecule_set() -> list[Molecule]:
    """Every molecule, in a fixed order, with its part of the split.

    The split is by molecule and by hash: within each class the molecules are ordered by the hash of their SMILES
    without stereochemistry, the first go to the test set and the next to the validation set.  No molecule can be
    in two parts, and adding a molecule never needs a random number.
    """
    listed: list[tuple[str, str]] = []
    for text, group in (
        (HYDROCARBON, "hydrocarbon"), (ALCOHOL, "alcohol"), (ETHER, "ether"), (AMINE, "amine"), (ACID, "acid"), (ESTER, "ester"), (AMIDE, "amide"),
        (CARBONYL, "carbonyl"), (AROMATIC, "aromatic"), (HETEROAROMATIC, "heteroaromatic"), (HETEROCYCLE, "heterocycle"), (DRUGLIKE, "druglike"),
    ):  # fmt: skip
        listed += [(smiles, group) for smiles in text.split()]
    listed += [(smiles, "peptide") for smiles in peptides()]
    listed += [(smiles, "cluster") for smiles in [*DIMERS.split(), *pairs()]]
    listed += products()

    seen: dict[str, str] = {}
    for smiles, group in listed:
        canonical = _canonical(smiles)
        if canonical is not None and canonical not in seen:
            seen[canonical] = group
    trained = {_canonical(smiles) for smiles in ALWAYS_TRAINED}

    by_class: dict[str, list[str]] = {}
    for smiles, group in seen.items():
        by_class.setdefault(group, []).append(smiles)
    result = []
    for group in sorted(by_class):
        members = sorted(by_class[group], key=_split_key)
        candidates = [smiles for smiles in members if _flat(smiles) not in {_flat(t) for t in trained if t}]
        test = set(candidates[: max(3, round(TEST_FRACTION * len(members)))])
        rest = [smiles for smiles in candidates if smiles not in test]
        validation = set(rest[: max(1, round(VALIDATION_FRACTION * len(members)))])
        for smiles in members:
            split = "test" if smiles in test else "validation" if smiles in validation else "train"
            result.append(Molecule(smiles, group, split))
    stacked = [canonical for canonical in map(_canonical, STACKED.split()) if canonical is not None]
    return result + [Molecule(smiles, "cluster", "train") for smiles in stacked if smiles not in seen]


def _flat(smiles: str) -> str:
    return str(Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False))


def _split_key(smiles: str) -> str:
    return hashlib.sha256(_flat(smiles).encode()).hexdigest()
